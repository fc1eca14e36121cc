from pathlib import Path

import numpy as np
import pytest

from regstudio.data.points import check_pair, check_within, find_landmarks, read_landmarks
from regstudio.errors import DataError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_taken_by_their_names(tmp_path: Path) -> None:
    one = read_landmarks(write(tmp_path / "a.csv", "y,x\n1,2\n3.5,4\n"))
    other = read_landmarks(write(tmp_path / "b.csv", "\ufeffname, x, y, note\ntip,2,1,?\nbase,4,3.5,\n"))
    np.testing.assert_array_equal(one.places, [[1, 2], [3.5, 4]])
    np.testing.assert_array_equal(other.places, one.places)
    assert other.names == ("tip", "base")
    check_pair(one, other)


def test_landmarks_are_found_beside_the_image_or_in_a_sibling_folder(tmp_path: Path) -> None:
    image = tmp_path / "moving" / "a.nii.gz"
    assert find_landmarks(image) is None
    apart = write(tmp_path / "moving_points" / "a_points.csv", "y,x\n1,2\n")
    assert find_landmarks(image) == apart
    beside = write(tmp_path / "moving" / "a_points.csv", "y,x\n1,2\n")
    assert find_landmarks(image) == beside


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no landmarks"),
        ("y,x\n", "holds no landmarks"),
        ("1,2\n3,4\n", "has no columns y and x"),
        ("y,x\n1,2\n3,left\n", "line 3 holds 'left' where a number should be"),
        ("y,x\n1\n", "line 2 holds 'nothing'"),
        ("y,x\n1,nan\n", "line 2 holds 'nan'"),
    ],
)
def test_a_bad_table_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a_points.csv", text)
    with pytest.raises(DataError, match=message) as caught:
        read_landmarks(path)
    assert str(path) in str(caught.value)
    assert "y,x" in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="cannot be read as a table"):
        read_landmarks(tmp_path / "a.csv")
    with pytest.raises(DataError, match="there is no such file"):
        read_landmarks(tmp_path / "b.csv")


def test_landmarks_that_do_not_correspond_are_refused(tmp_path: Path) -> None:
    two = read_landmarks(write(tmp_path / "two.csv", "name,y,x\ntip,1,2\nbase,3,4\n"))
    one = read_landmarks(write(tmp_path / "one.csv", "y,x\n1,2\n"))
    turned = read_landmarks(write(tmp_path / "turned.csv", "name,y,x\nbase,3,4\ntip,1,2\n"))
    with pytest.raises(DataError, match=r"one\.csv: holds 1 landmarks, but .*two\.csv holds 2"):
        check_pair(two, one)
    with pytest.raises(DataError, match="line 2 is named base, but tip in"):
        check_pair(two, turned)


def test_landmarks_outside_their_image_are_refused(tmp_path: Path) -> None:
    landmarks = read_landmarks(write(tmp_path / "a.csv", "y,x\n0,0\n39.4,35.4\n12,50\n"))
    check_within(landmarks, (40, 51))
    with pytest.raises(DataError, match="line 4, y = 12 and x = 50, lies outside its image of 40 x 36 pixels"):
        check_within(landmarks, (40, 36))
