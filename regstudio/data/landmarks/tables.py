"""Landmarks in tables: columns named y and x, as ImageJ and ANHIR name them, and BigWarp's, which name none."""

import csv
import io
from pathlib import Path

import numpy as np

from regstudio.data.landmarks.landmarks import REMEDY, Array, Landmarks, Side, number
from regstudio.data.problems import FileError
from regstudio.data.text_tables import Row, cells, columns_of, delimiter_of

_NAMES = ("name", "label", "")  # ImageJ's numbers have no title


def read_table(path: Path, text: str, side: Side) -> Landmarks:
    """Return the landmarks of a table, of BigWarp's those of one side; raises FileError."""
    lines = text.splitlines()
    delimiter = delimiter_of(lines)
    rows = cells(path, lines, REMEDY, delimiter)
    if rows and _is_bigwarp(rows[0][1]):
        return _from_bigwarp(path, rows, side)
    header = columns_of(rows[0][1]) if rows else {}
    rows = rows[1:]
    if not {"y", "x"} <= header.keys() or not rows:
        raise FileError(path, "has no columns y and x" if rows else "holds no landmarks", REMEDY)
    label = next((header[name] for name in _NAMES if name in header), None)

    def cell(row: list[str], place: int | None) -> str:
        return "" if place is None or place >= len(row) else row[place].strip()

    def value(line: int, text: str) -> float:
        return number(path, line, text.replace(",", ".") if delimiter != "," else text)  # a comma for the point

    return Landmarks(
        path=path,
        places=np.array([[value(line, cell(row, header[axis])) for axis in ("y", "x")] for line, row in rows]),
        names=tuple(cell(row, label) for _, row in rows),
        lines=tuple(line for line, _ in rows),
    )


def table_text(landmarks: Landmarks, places: Array) -> str:
    """Return the table that the landmarks are from with other places (n, 2): all else in it stays as it is."""
    lines = landmarks.text.splitlines()
    delimiter = delimiter_of(lines)
    header, *rows = cells(landmarks.path, lines, REMEDY, delimiter)
    columns = columns_of(header[1])
    decimal_comma = delimiter != "," and any("," in row[columns[axis]] for _, row in rows for axis in "yx")
    for (_, row), place in zip(rows, places, strict=True):
        for axis, value in zip("yx", place, strict=True):
            row[columns[axis]] = f"{value:.4f}".replace(".", "," if decimal_comma else ".")
    return _joined([header, *rows], delimiter)


def bigwarp_text(landmarks: Landmarks, places: Array) -> str:
    """Return BigWarp's table with other places (n, 2) on the other side than the one that was read."""
    rows = cells(landmarks.path, landmarks.text.splitlines(), REMEDY)
    start = _start(rows[0][1], "fixed" if landmarks.side == "moving" else "moving")
    for (_, row), (y, x) in zip([row for row in rows if _is_active(row[1])], places, strict=True):
        row[start], row[start + 1] = f"{x:.4f}", f"{y:.4f}"
    return _joined(rows, ",", quote_all=True)


def _joined(rows: list[Row], delimiter: str, quote_all: bool = False) -> str:
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    )
    writer.writerows(row for _, row in rows)
    return text.getvalue()


def _is_bigwarp(row: list[str]) -> bool:
    return len(row) in (6, 8) and row[1].strip().lower() in ("true", "false")


def _is_active(row: list[str]) -> bool:
    return [cell.strip().lower() for cell in row[1:2]] == ["true"]


def _start(row: list[str], side: Side) -> int:
    """Return the column of x on a side: the moving one comes first, and z, if there is one, last."""
    return 2 if side == "moving" else 2 + (len(row) - 2) // 2


def _from_bigwarp(path: Path, rows: list[Row], side: Side) -> Landmarks:
    """Return the active points of one side; x comes first, and z, if there is one, is left out."""
    active = [(line, row) for line, row in rows if _is_active(row)]
    if not active or any(len(row) != len(rows[0][1]) for _, row in active):
        raise FileError(path, "holds no landmarks" if not active else "has lines of different lengths", REMEDY)
    start = _start(rows[0][1], side)
    return Landmarks(
        path=path,
        places=np.array([[number(path, line, row[at]) for at in (start + 1, start)] for line, row in active]),
        names=tuple(row[0].strip() for _, row in active),
        lines=tuple(line for line, _ in active),
        family="bigwarp",
        side=side,
    )
