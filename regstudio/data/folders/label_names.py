"""Names and colours of labels, from a file in the data folder.

`labels.csv` has the columns id, name and, if you like, colour (#rrggbb). ITK-SNAP's file of label descriptions is read
as `labels.txt` or `labels.label`.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regstudio.data.problems import FileError
from regstudio.data.text_tables import cells, columns_of, delimiter_of, read_text

FILES = ("labels.csv", "labels.txt", "labels.label")
MAX_NAME = 100  # letters
REMEDY = "Give it a first line `id,name,colour` and a line for each label, such as `3,lung,#56b4e9`; or remove it."
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_SNAP_COLUMNS = 8  # id, red, green, blue, opacity, visible, mesh, "name"


@dataclass(frozen=True, kw_only=True)
class LabelName:
    """A label's name, and its colour as #rrggbb; an empty colour is that of every label of its id."""

    name: str
    colour: str = ""


def find_label_names(*folders: Path) -> Path | None:
    """Return the file of names in the first of the folders that has one."""
    return next((path for folder in folders for name in FILES if (path := folder / name).is_file()), None)


def read_label_names(path: Path) -> dict[int, LabelName]:
    """Return the names of a file by label id, without the background; raises FileError, naming the line."""
    text, _ = read_text(path, REMEDY)
    rows = _table(path, text) if path.suffix.lower() == ".csv" else _descriptions(path, text)
    names = {}
    for line, number, name, colour in rows:
        if not number.isdecimal() or len(number) > 9 or not name:
            raise FileError(path, f"line {line} has no label id and name", REMEDY)
        if colour and not _COLOUR.fullmatch(colour):
            raise FileError(path, f"line {line}: {colour!r:.20} is no colour", REMEDY)
        names[int(number)] = LabelName(name=name[:MAX_NAME], colour=colour)
    names.pop(0, None)
    return names


def _table(path: Path, text: str) -> Iterator[tuple[int, str, str, str]]:
    lines = text.splitlines()
    header, *rows = cells(path, lines, REMEDY, delimiter_of(lines)) or [(0, [])]
    columns = columns_of(header[1])
    if not {"id", "name"} <= columns.keys():
        raise FileError(path, "has no columns id and name", REMEDY)
    colour = columns.get("colour", columns.get("color"))

    def cell(row: list[str], place: int | None) -> str:
        return "" if place is None or place >= len(row) else row[place].strip()

    for line, row in rows:
        yield line, cell(row, columns["id"]), cell(row, columns["name"]), cell(row, colour).lower()


def _descriptions(path: Path, text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield ITK-SNAP's lines: IDX R G B A VIS MESH "NAME"."""
    for line, words in enumerate(text.splitlines(), start=1):
        if not words.strip() or words.lstrip().startswith("#"):
            continue
        try:
            found = shlex.split(words)
            colour = "#{:02x}{:02x}{:02x}".format(*(int(value) for value in found[1:4]))
        except (ValueError, IndexError):
            found, colour = [], ""
        if len(found) != _SNAP_COLUMNS:
            raise FileError(path, f"line {line} is no label description of ITK-SNAP", REMEDY)
        yield line, found[0], found[-1], colour
