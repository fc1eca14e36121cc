"""Names and colours of labels."""

from pathlib import Path

import pytest

from regstudio.data.folders.label_names import LabelName, find_label_names, read_label_names
from regstudio.data.problems import FileError

SNAP = """# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0   16        1  1  1    "left lung"
"""


def test_tables_and_descriptions_of_itk_snap_are_read(tmp_path: Path) -> None:
    assert find_label_names(tmp_path) is None
    (tmp_path / "labels.txt").write_text(SNAP)
    assert read_label_names(tmp_path / "labels.txt") == {1: LabelName(name="left lung", colour="#ff0010")}
    (tmp_path / "labels.csv").write_text("Name;ID;Color\nheart;3;#56B4E9\nlung;12;\nnothing;0;\n")
    found = find_label_names(tmp_path / "gone", tmp_path)
    assert found == tmp_path / "labels.csv"
    assert read_label_names(found) == {3: LabelName(name="heart", colour="#56b4e9"), 12: LabelName(name="lung")}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.csv", "id,colour\n1,#ffffff\n", "no columns id and name"),
        ("labels.csv", "id,name\nx,heart\n", "line 2 has no label id"),
        ("labels.csv", "id,name,colour\n1,heart,red;x\n", "line 2: 'red;x' is no colour"),
        ("labels.txt", '1 255 0 0 1 1 1 "lung\n', "line 1 is no label description"),
        ("labels.txt", '1 999 0 0 1 1 1 "lung"\n', "line 1: '#3e70000' is no colour"),
    ],
)
def test_what_is_no_name_is_refused_with_its_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=said):
        read_label_names(tmp_path / name)
