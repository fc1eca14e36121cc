"""Landmarks that were moved are written in the form of the file that they were read from."""

import json
from pathlib import Path

import numpy as np
import pytest

from regstudio.data.checking.check import check
from regstudio.data.landmarks.files import find_landmarks, points_stem, read_landmarks, write_landmarks
from regstudio.errors import DataError
from tests.pictures import index

MARKUPS = json.dumps(
    {
        "@schema": "markups",
        "markups": [
            {
                "type": "Fiducial",
                "coordinateSystem": "LPS",
                "controlPoints": [
                    {"id": "1", "label": "tip", "position": [2.0, 1.0, 0.0], "locked": True},
                    {"id": "2", "label": "base", "position": [4.0, 3.5, 0.0]},
                ],
            }
        ],
    }
)
FILES = {
    "a.csv": "name,y,x,note\ntip,1,2,left\nbase,3.5,4,right\n",
    "b.csv": ",X,Y\n1,2,1\n2,4,3.5\n",
    "c.csv": "X;Y;name\n2;1;a\n4;3,5;b\n",
    "d.csv": '"Pt-0","true","9","9","2","1"\n"Pt-1","false","7","7","7","7"\n"Pt-2","true","9","9","4","3.5"\n',
    "e.fcsv": "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n"
    "1,2,1,0,tip\n2,4,3.5,0,base\n",
    "f.mrk.json": MARKUPS,
    "g.txt": "index\n2\n2 1\n4 3.5\n",
    "h.pts": "point\n2\n2 1 0\n4 3.5 0\n",
    "i.txt": "2\n2 1\n4 3.5\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", FILES)
def test_what_was_read_is_written_likewise(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], encoding=encoding)
    landmarks = read_landmarks(path)
    np.testing.assert_allclose(landmarks.places, [[1, 2], [3.5, 4]])
    moved = np.array([[10.0, 20.0], [30.0, 41.5]])
    written = write_landmarks(landmarks, moved, tmp_path)
    assert written.name == f"{points_stem(path)}_moved{path.name[1:]}"
    again = read_landmarks(written, "moving")
    np.testing.assert_allclose(again.places, moved)
    assert (again.names, again.family, again.encoding) == (landmarks.names, landmarks.family, encoding)


def test_all_else_stays_as_it_is(tmp_path: Path) -> None:
    expected = {
        "a.csv": "name,y,x,note\ntip,10.0000,20.0000,left\nbase,30.0000,41.5000,right\n",
        "c.csv": "X;Y;name\n20,0000;10,0000;a\n41,5000;30,0000;b\n",
        "g.txt": "index\n2\n20 10\n41.5 30\n",
    }
    for name, text in expected.items():
        (tmp_path / name).write_text(FILES[name])
        written = write_landmarks(read_landmarks(tmp_path / name), np.array([[10.0, 20], [30, 41.5]]), tmp_path)
        assert written.read_text() == text
    (tmp_path / "f.mrk.json").write_text(MARKUPS)
    written = write_landmarks(read_landmarks(tmp_path / "f.mrk.json"), np.array([[10.0, 20], [30, 41.5]]), tmp_path)
    assert json.loads(written.read_text())["markups"][0]["controlPoints"][0]["locked"] is True


@pytest.mark.parametrize("ending", [".csv", ".fcsv", ".mrk.json", ".txt", ".pts"])
def test_all_forms_are_found_beside_an_image(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"p1_points{ending}"
    path.touch()
    assert find_landmarks(tmp_path / "p1.png") == path


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "index\n3\n1 2\n", "holds 1 points, and says 3"),
        ("a.txt", "point\n1\n1 2 3 4\n", "not of two or three numbers"),
        ("a.pts", "", "holds 0 points"),
        ("a.mrk.json", "{}", "cannot be read as markups"),
        ("a.mrk.json", '{"markups": [{"controlPoints": []}]}', "holds no landmarks"),
        ("a.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, 2]}]}]}', "cannot be read as markups"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_landmarks(tmp_path / name)


def test_a_check_knows_landmarks(root: Path) -> None:
    for name, text in (("fixed/atlas", "y,x\n1,2\n3,4\n"), ("validation_moving/v1", "y,x\n1,2\n"),
                       ("validation_moving/v2", "y,x\n1,2\n3,400\n"), ("moving/t1", "y,x\n1,2\n3,4\n")):  # fmt: skip
        (root / f"{name}_points.csv").write_text(text)
    said = {problem.path.name: problem.what for problem in check(index(root)).index.warnings}
    assert said["v1_points.csv"].startswith("holds 1 landmarks, but ")
    assert said["v2_points.csv"].startswith("line 3, y = 3 and x = 400, lies outside its image")
    assert "t1_points.csv" not in said
