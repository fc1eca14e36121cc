"""Tables that say which images belong together."""

import os
from pathlib import Path

import pytest

from regstudio.data.folders.layout import DataIndex
from regstudio.data.folders.pair_table import pairs_to_csv
from tests.pictures import index


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    """Two visits of three patients, a folder each; only names matter."""
    for patient in ("anna", "ben", "cleo"):
        for visit in ("first", "second"):
            for kind in ("", "_seg", "_points"):
                path = tmp_path / patient / f"{visit}{kind}{'.csv' if kind == '_points' else '.png'}"
                path.parent.mkdir(exist_ok=True)
                path.touch()
    return tmp_path


def table(root: Path, text: str, encoding: str = "utf-8") -> DataIndex:
    (root / "pairs.csv").write_text(text, encoding=encoding)
    return index(root)


def test_a_table_says_which_belong_together_and_what_to_each(visits: Path) -> None:
    found = table(
        visits,
        "Subject;moving;fixed;moving_label;fixed_label;fixed_points;moving_points;split\n"
        "anna;anna/second.png;anna/first.png;anna/second_seg.png;anna/first_seg.png;"
        "anna/first_points.csv;anna/second_points.csv;\n"
        "ben;ben/second.png;ben/first.png;;;;;val\n"
        "cleo;cleo/second.png;cleo/first.png;;;;;test\n",
        "utf-16",
    )
    (anna,), (ben,) = found.train, found.validation
    assert (anna.id, ben.id, anna.subject) == ("anna_second", "ben_second", "anna")
    assert anna.fixed is not None
    sides = [
        (case.image.name, case.label and case.label.name, case.points and case.points.name)
        for case in (anna.fixed, anna)
    ]
    assert sides == [
        ("first.png", "first_seg.png", "first_points.csv"),
        ("second.png", "second_seg.png", "second_points.csv"),
    ]
    assert [problem.what for problem in found.problems] == ["1 pairs of the split test are not used"]
    assert found.atlas is None
    assert set(found.files) >= {visits / "pairs.csv", anna.fixed.points, anna.points, ben.image}


def test_each_wrong_line_is_named_and_left_out(visits: Path) -> None:
    found = table(
        visits,
        "fixed,moving,split\nanna/first.png,anna/second.png,\nanna/first.png,,\nanna/first.png,gone.png,\n"
        "anna/first.png,anna/notes.txt,\nben/first.png,ben/second.png,later\n",
    )
    assert [case.id for case in found.train] == ["second"]
    said = [problem.what for problem in found.warnings]
    assert said[0] == "line 3: names no moving image"
    assert said[1] == "line 4: there is no file gone.png"
    assert said[2].startswith("line 5: anna/notes.txt is of no supported format")
    assert said[3] == "line 6: its split is 'later', and not train, validation or test"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "fixed,moving\n", "\x00\x01"])
def test_a_table_without_pairs_is_an_error(visits: Path, text: str) -> None:
    assert not table(visits, text).train
    assert table(visits, text).errors[0].path == visits / "pairs.csv"


def test_one_image_may_belong_to_several(visits: Path) -> None:
    found = table(
        visits,
        "fixed,moving\nanna/first.png,anna/second.png\nben/first.png,anna/second.png\nanna/first.png,anna/second.png\n",
    )
    assert len({case.id for case in found.train}) == len(found.train) == 2


def test_a_split_that_was_written_is_read_as_it_was(visits: Path) -> None:
    rows = [f"{name}/first.png,{name}/second.png,{name}" for name in ("anna", "ben", "cleo")]
    (visits / "pairs.csv").write_text("\n".join(["fixed,moving,subject", *rows]))
    found = index(visits, validation_share=0.4)
    assert len(found.train) == 2
    text = pairs_to_csv({"train": found.train, "validation": found.validation}, visits)
    again = table(visits, text)
    assert [case.image for case in again.train] == [case.image for case in found.train]
    assert [case.subject for case in again.validation] == [case.subject for case in found.validation]


def test_a_table_is_read_only_where_pairs_are_asked_for_by_it(visits: Path) -> None:
    (visits / "pairs.csv").write_text("fixed,moving\nanna/first.png,anna/second.png\n")
    assert index(visits).table is not None
    assert index(visits, pair_by="name").table is None
    assert index(visits, pair_by="csv", pairs_file="other.csv").errors[0].what == "there is no such file"


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself", "link to nothing", "zeros"])
def test_a_table_that_is_no_file_is_an_error_and_not_left_out_in_silence(visits: Path, kind: str) -> None:
    path = visits / "pairs.csv"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "zeros":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(path if kind == "link to itself" else visits / "gone")
    found = index(visits)
    assert [problem.path for problem in found.errors] == [path]


def test_what_is_no_text_is_said_in_plain_words(visits: Path) -> None:
    (visits / "pairs.csv").write_bytes(bytes(range(256)))
    (problem,) = index(visits).errors
    assert problem.what == "cannot be read as a table (it is no text in UTF-8 or UTF-16)"
