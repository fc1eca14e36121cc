"""Records of plain values from outside: each is read as it is, taken for missing, or refused by one message."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regstudio.data.landmarks.files import read_landmarks
from regstudio.data.text_tables import MAX_ROWS
from regstudio.errors import RegStudioError
from regstudio.evaluation.earlier import read_evaluation
from regstudio.methods.affine import Affine
from regstudio.methods.affine_cache import cached_affine
from regstudio.registering.journal import NAME, Journal
from regstudio.transforms.apply import load_flow
from tests.hostile.mutations import ODD_VALUES, mutated, nested

FLOW = {
    "convention": "...",
    "image_size": [40, 36],
    "size": [40, 36],
    "working_size": [40, 36],
    "affine": np.diag([2.0, 1.5, 1.0, 1.0]).tolist(),
    "axes": "itk",
    "facing": [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]],
    "on_turn": [False, False, True],
    "image_turn": [False, False, False],
}
NULLS = tuple(f"{name}: null" for name in ("affine", "facing", "size", "working_size"))
EVALUATION = {
    "method": "network",
    "unit": "mm",
    "cases": [{"id": "a", "dice": 0.5, "per_label": {"1": {"dice": 0.5}}, "left_out": [3], "lost": []}],
    "provenance": {"regstudio": "1"},
}


def json_text(record: object) -> str:
    return json.dumps(record)


def refused_or_read(path: Path, read: Callable[[], Any]) -> Any:
    """Return what is read, or None for a message that names the file; any other error is raised."""
    try:
        return read()
    except RegStudioError as error:
        assert str(path) in str(error)
        assert len(str(error)) < 1500
        str(error).encode()
        return None


def write_flow(folder: Path, record: object) -> tuple[Path, Path]:
    np.save(folder / "a_flow.npy", np.zeros((2, 40, 36), np.float32))
    (folder / "a_flow.json").write_text(json_text(record))
    return folder / "a_flow.npy", folder / "a_flow.json"


@pytest.mark.parametrize("field", [key for key in FLOW if key != "convention"])
def test_a_flow_s_record_may_hold_anything(tmp_path: Path, field: str) -> None:
    for name, record in mutated(FLOW, [(field,)]):
        flow, sidecar = write_flow(tmp_path, record)
        saved = refused_or_read(sidecar, lambda flow=flow: load_flow(flow))
        may_be = field not in ("image_size", "affine") and name.endswith("missing")
        assert (saved is None) or may_be or name in NULLS, name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", [0, 36]),
        ("image_size", [10**12, 36]),
        ("affine", np.zeros((4, 4)).tolist()),
        ("affine", np.ones((4, 4)).tolist()),
        ("affine", np.eye(3).tolist()),
        ("affine", np.full((4, 4), 1e300).tolist()),
        ("on_turn", [0, 1, "x"]),
        ("facing", [[1, 2], [3, 4]]),
    ],
)
def test_a_flow_s_record_that_cannot_be_true_is_refused(tmp_path: Path, field: str, value: object) -> None:
    flow, sidecar = write_flow(tmp_path, {**FLOW, field: value})
    with pytest.raises(RegStudioError, match=rf"{sidecar}: does not say what a flow's \.json says \({field}"):
        load_flow(flow)


def test_a_flow_s_record_is_read(tmp_path: Path) -> None:
    saved = load_flow(write_flow(tmp_path, FLOW)[0])
    assert saved.geometry is not None
    assert saved.geometry.spacing == (2.0, 1.5)
    assert (saved.field.image_size, saved.axes, saved.on_turn.reverse_columns) == ((40, 36), "itk", True)


@pytest.mark.parametrize(
    "odd", ["", "[]", "null", "{", "1", '"a"', json_text(nested(400)), "\0", "9" * 5000, "[" * 9999]
)
def test_records_that_are_none_are_refused(tmp_path: Path, odd: str) -> None:
    flow, sidecar = write_flow(tmp_path, FLOW)
    sidecar.write_text(odd)
    assert refused_or_read(sidecar, lambda: load_flow(flow)) is None
    assert refused_or_read(sidecar, lambda: read_evaluation(sidecar)) is None


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "zeros", "none"):
        assert refused_or_read(tmp_path / name, lambda name=name: read_evaluation(tmp_path / name)) is None
        assert refused_or_read(tmp_path / name, lambda name=name: read_landmarks(tmp_path / name)) is None


@pytest.mark.parametrize(
    "field",
    [*((key,) for key in EVALUATION), *(("cases", key) for key in ("id", "dice", "per_label", "left_out", "lost"))],
)
def test_an_evaluation_may_hold_anything(tmp_path: Path, field: tuple[str, ...]) -> None:
    path = tmp_path / "scores.json"
    cases = EVALUATION["cases"]
    assert isinstance(cases, list)
    for name, record in mutated({**EVALUATION, "cases": cases[0]}, [field]):
        path.write_text(json_text({**record, "cases": [record["cases"]]} if "cases" in record else record))
        read = refused_or_read(path, lambda: read_evaluation(path))
        if read is not None:
            assert all(isinstance(value, float) for case in read.cases for value in case.values.values()), name


ENTRY = {"id": "a", "digest": "d", "files": {"a.png": 3}, "metrics": {"dice": 0.5}, "seconds": 1.5}


@pytest.mark.parametrize("field", [*((key,) for key in ENTRY), ("files", "a.png"), ("metrics", "dice")])
def test_a_journal_may_hold_anything(tmp_path: Path, field: tuple[str, ...]) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    for name, record in mutated(ENTRY, [field]):
        (tmp_path / NAME).write_text(json_text(record) + "\n" + json_text({**ENTRY, "id": "b"}) + "\n")
        journal = Journal(tmp_path)
        assert journal.find("b", "d") is not None, name
        entry = journal.find("a", "d")
        assert entry is None or isinstance(entry.seconds, float | None), name


@pytest.mark.parametrize("file", ["../a.png", "/etc/passwd", "a/b", "", "..", "a\0b", "x" * 300])
def test_a_journal_names_files_of_its_own_folder_alone(tmp_path: Path, file: str) -> None:
    (tmp_path / NAME).write_text(json_text({**ENTRY, "files": {file: 3}}) + "\n")
    assert Journal(tmp_path).find("a", "d") is None


def test_a_journal_survives_any_bytes(tmp_path: Path) -> None:
    line = json_text(ENTRY).encode()
    odd = [b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b"{" * 100_000, b"x" * 3_000_000, b"\0"]
    (tmp_path / NAME).write_bytes(b"\n".join([*odd, line, b""]))
    (tmp_path / "a.png").write_bytes(b"abc")
    assert Journal(tmp_path).find("a", "d") is not None


@pytest.fixture
def affine_entry(tmp_path: Path) -> Path:
    """A cache's only entry, and its text."""
    matrix = np.array([[0.9987, 0.0123, -3.25], [-0.0123, 0.9987, 12.5]])
    cached_affine(np.zeros((4, 4)), np.ones((4, 4)), tmp_path, search=lambda fixed, moving: Affine(matrix))
    (entry,) = tmp_path.iterdir()
    return entry


def found(entry: Path) -> np.ndarray | None:
    """Return the cached matrix, or None where it is searched for again."""
    searched = np.full((2, 3), 7.0)
    images = np.zeros((4, 4)), np.ones((4, 4))
    matrix = cached_affine(*images, entry.parent, search=lambda fixed, moving: Affine(searched)).matrix
    return None if matrix is searched else matrix


def test_any_flipped_bit_of_a_cached_map_is_noticed(affine_entry: Path) -> None:
    good = affine_entry.read_bytes()
    wanted = found(affine_entry)
    assert wanted is not None
    rng = random.Random(0)
    for place in rng.sample(range(len(good)), 100):
        changed = bytearray(good)
        changed[place] ^= 1 << rng.randrange(8)
        affine_entry.write_bytes(changed)
        matrix = found(affine_entry)
        assert matrix is None or (matrix == wanted).all()  # of white space, say


def test_a_cached_map_under_the_name_of_another_is_noticed(affine_entry: Path, tmp_path: Path) -> None:
    images = np.zeros((4, 4)), np.full((4, 4), 2.0)
    searched = np.eye(2, 3)
    cached_affine(*images, tmp_path, search=lambda fixed, moving: Affine(searched))
    (other,) = (path for path in tmp_path.iterdir() if path != affine_entry)
    other.write_bytes(affine_entry.read_bytes())
    assert (cached_affine(*images, tmp_path, search=lambda fixed, moving: Affine(searched)).matrix == searched).all()


@pytest.mark.parametrize("odd", ODD_VALUES.values(), ids=ODD_VALUES)
def test_a_cached_map_may_hold_anything(affine_entry: Path, odd: object) -> None:
    record = json.loads(affine_entry.read_text())
    for field in record:
        affine_entry.write_text(json_text({**record, field: odd}))
        assert found(affine_entry) is None or (field, odd) == ("reason", None)
    affine_entry.write_text(json_text(odd))
    assert found(affine_entry) is None


@pytest.mark.parametrize(
    "cell", ["", "x", "nan", "inf", "-inf", "1e300", "1e9999", "0x10", "9" * 500, "[1]", "None", "=1+1", "\0", '"', "é"]
)
def test_a_table_of_points_may_hold_anything(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "a_points.csv"
    for text in (f"y,x\n{cell},2\n", f"y;x\n1;{cell}\n", f"{cell},y,x\n", f"{cell}", f"y,x,name\n1,2,{cell}\n"):
        path.write_text(text)
        landmarks = refused_or_read(path, lambda: read_landmarks(path))
        assert landmarks is None or (np.abs(landmarks.places) < 1e10).all()


def test_a_table_of_points_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a_points.csv"
    path.write_text("y,x\n" + "1,2\n" * (MAX_ROWS + 1))
    with pytest.raises(RegStudioError, match=rf"{path}: has 100,002 lines; 100,000 are the most"):
        read_landmarks(path)
    with path.open("wb") as stream:
        stream.truncate(2**40)  # takes no room on the disk
    with pytest.raises(RegStudioError, match=rf"{path}: cannot be read as a table \(has more than"):
        read_landmarks(path)
