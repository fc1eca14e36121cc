"""Landmarks: corresponding points in two images, as tables beside the images.

The landmarks of NAME.ext are in NAME_points.csv or .fcsv, in the image's folder or in a sibling folder whose name ends
in _points (`validation_moving_points/` for `validation_moving/`). Row i in both files is the same place in the body.

- A table's first line names the columns: `y` (rows, down) and `x` (columns, right), in pixels from 0 at the centre of
  the first pixel, and optionally `name`; others are ignored, and so are capitals (`,X,Y`, as ImageJ and ANHIR write).
  Columns are parted by commas, semicolons or tabs; the text is UTF-8 or UTF-16.
- BigWarp's tables name no columns: point, active or not, then x and y in the moving and in the fixed image.
- 3D Slicer's .fcsv holds places in mm, which become pixels by the geometry of the image.
"""

import csv
import math
import os
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.formats import stem
from regstudio.data.listing import POINTS_ENDINGS, POINTS_SUFFIX
from regstudio.data.problems import FileError
from regstudio.schema import SchemaError, read_bytes

MAX_ROWS, MAX_BYTES = 100_000, 2**25  # of a table
MAX_PLACE = 1e9  # in pixels or mm
_REMEDY = "Give it a first line `y,x` and a line of two numbers, in pixels, for each landmark."
_NAMES = ("name", "label", "")  # ImageJ's numbers have no title
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
_NO_GEOMETRY = np.eye(4)[[1, 0, 2, 3]] * np.array([[-1.0], [-1.0], [1.0], [1.0]])  # columns along L, rows along P, 1 mm


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """Points `places` (n, 2), y and x in pixels, and their names; a name is empty if the file has none.

    `lines` are those of the file that the points come from. `world` (n, 3) are the points in RAS+ and mm, where the
    file holds such; `places` then needs the geometry of an image, see `on`.
    """

    path: Path
    places: npt.NDArray[np.float64]
    names: tuple[str, ...]
    lines: tuple[int, ...]
    world: npt.NDArray[np.float64] | None = None

    def on(self, affine: npt.NDArray[np.float64] | None) -> "Landmarks":
        """Return the landmarks in pixels of an image whose `affine` (4, 4) takes (row, column, slice, 1) to RAS+."""
        if self.world is None or affine is None:
            return self
        return replace(self, places=_to_pixels(self.world, affine))


def find_landmarks(image: Path) -> Path | None:
    """Return the landmark file of an image, or None if there is none."""
    parent = Path(os.path.abspath(image.parent))  # noqa: PTH100  "." has no name, and links are not to be followed
    sibling = parent.parent / f"{parent.name}{POINTS_SUFFIX}"
    names = dict.fromkeys(unicodedata.normalize(form, stem(image)) for form in ("NFC", "NFD"))
    found = (
        path
        for folder in (image.parent, sibling)
        for name in names
        for ending in POINTS_ENDINGS
        if (path := folder / f"{name}{POINTS_SUFFIX}{ending}").is_file()
    )
    return next(found, None)


def read_landmarks(path: Path, side: Literal["fixed", "moving"] = "fixed") -> Landmarks:
    """Read a landmark file, of BigWarp's tables the points in the image of that `side`; raises FileError."""
    text = _text(path)
    lines = text.splitlines()
    if path.suffix.lower() == ".fcsv" or text.startswith("# Markups fiducial file"):
        return _from_slicer(path, lines)
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    numbered = _cells(path, lines, delimiter)
    if numbered and len(numbered[0][1]) in (6, 8) and numbered[0][1][1].strip().lower() in ("true", "false"):
        return _from_bigwarp(path, numbered, side)
    header = (
        {name.strip().lower(): place for place, name in reversed(list(enumerate(numbered[0][1])))} if numbered else {}
    )
    numbered = numbered[1:]
    if not {"y", "x"} <= header.keys() or not numbered:
        raise FileError(path, "has no columns y and x" if numbered else "holds no landmarks", _REMEDY)
    label = next((header[name] for name in _NAMES if name in header), None)

    def cell(row: list[str], place: int | None) -> str:
        return "" if place is None or place >= len(row) else row[place].strip()

    def number(line: int, text: str) -> float:
        return _number(path, line, text.replace(",", ".") if delimiter != "," else text)  # a comma for the point

    places = [[number(line, cell(row, header[axis])) for axis in ("y", "x")] for line, row in numbered]
    return Landmarks(
        path=path,
        places=np.array(places),
        names=tuple(cell(row, label) for _, row in numbered),
        lines=tuple(line for line, _ in numbered),
    )


def _cells(path: Path, lines: list[str], delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return the cells of the lines that are not blank, with their numbers."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise FileError(path, f"cannot be read as a table ({error})", _REMEDY) from None
    if len(rows) > MAX_ROWS:
        raise FileError(path, f"has {len(rows):,} lines; {MAX_ROWS:,} landmarks are the most", "Leave some out.")
    return [(number, row) for number, row in enumerate(rows, start=1) if any(cell.strip() for cell in row)]


def _text(path: Path) -> str:
    if not path.exists():
        raise FileError(path, "there is no such file", "Check the name.")
    try:
        content = read_bytes(path, MAX_BYTES)
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        text = content.decode(encoding)
    except SchemaError as error:
        raise FileError(path, f"cannot be read as a table ({error})", _REMEDY) from None
    except UnicodeDecodeError:
        raise FileError(path, "cannot be read as a table (it is no text in UTF-8 or UTF-16)", _REMEDY) from None
    if any(unicodedata.category(letter) == "Cc" for letter in set(text) - set("\t\r\n")):
        raise FileError(path, "cannot be read as a table (it is no text)", _REMEDY)
    return text


def _from_bigwarp(path: Path, rows: list[tuple[int, list[str]]], side: str) -> Landmarks:
    """Return the active points of one side; x comes first, and z, if there is one, is left out."""
    active = [(line, row) for line, row in rows if [cell.strip().lower() for cell in row[1:2]] == ["true"]]
    if not active or any(len(row) != len(rows[0][1]) for _, row in active):
        raise FileError(path, "holds no landmarks" if not active else "has lines of different lengths", _REMEDY)
    start = 2 if side == "moving" else 2 + (len(rows[0][1]) - 2) // 2
    places = [[_number(path, line, row[start + 1]), _number(path, line, row[start])] for line, row in active]
    return Landmarks(
        path=path,
        places=np.array(places),
        names=tuple(row[0].strip() for _, row in active),
        lines=tuple(line for line, _ in active),
    )


def _from_slicer(path: Path, lines: list[str]) -> Landmarks:
    """Return the points of a .fcsv; their places are those in an image without geometry, until `on` says more."""
    system, columns = "0", ["id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label"]
    for line in lines:
        name, _, value = line.lstrip("# ").partition("=")
        if line.startswith("#") and name.strip().lower() == "coordinatesystem":
            system = value.strip().upper()
        elif line.startswith("#") and name.strip().lower() == "columns":
            columns = [column.strip().lower() for column in value.split(",")]
    found = _cells(path, ["" if line.startswith("#") else line for line in lines])
    if not found or not {"x", "y", "z"} <= set(columns):
        raise FileError(path, "holds no landmarks", "Export the fiducials from 3D Slicer again.")
    if system not in ("0", "RAS", "1", "LPS"):
        what = f"is in the coordinates {system!r:.20}, and not in RAS or LPS"
        raise FileError(path, what, "Export the fiducials from 3D Slicer again.")

    def cell(row: list[str], name: str) -> str:
        place = columns.index(name) if name in columns else len(row)
        return row[place].strip() if place < len(row) else ""

    world = np.array([[_number(path, line, cell(row, axis)) for axis in "xyz"] for line, row in found])
    if system in ("1", "LPS"):
        world = world * _LPS_TO_RAS
    return Landmarks(
        path=path,
        places=_to_pixels(world, _NO_GEOMETRY),
        names=tuple(cell(row, "label") for _, row in found),
        lines=tuple(line for line, _ in found),
        world=world,
    )


def _to_pixels(world: npt.NDArray[np.float64], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    pixels: npt.NDArray[np.float64] = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    return pixels[:, :2]


def corresponding(fixed: Landmarks, moving: Landmarks) -> tuple[Landmarks, Landmarks]:
    """Return the landmarks that two images share: row by row or, where one has more of them, those of the same name.

    Raises FileError where rows do not correspond, and neither do names.
    """
    own, others = ({name: row for row, name in enumerate(side.names) if name} for side in (fixed, moving))
    shared = [name for name in own if name in others]
    if len(fixed.names) != len(moving.names) and shared and len(own) == len(fixed.names):
        return _rows(fixed, [own[name] for name in shared]), _rows(moving, [others[name] for name in shared])
    check_pair(fixed, moving)
    return fixed, moving


def _rows(landmarks: Landmarks, rows: list[int]) -> Landmarks:
    return replace(
        landmarks,
        places=landmarks.places[rows],
        names=tuple(landmarks.names[row] for row in rows),
        lines=tuple(landmarks.lines[row] for row in rows),
        world=None if landmarks.world is None else landmarks.world[rows],
    )


def check_pair(fixed: Landmarks, moving: Landmarks) -> None:
    """Raise FileError unless the landmarks of two images correspond: the same number, and the same names."""
    if len(fixed.places) != len(moving.places):
        what = f"holds {len(moving.places)} landmarks, but {fixed.path} holds {len(fixed.places)}"
        raise FileError(moving.path, what, "Row by row, the two are the same places: add what lacks.")
    for line, one, other in zip(moving.lines, fixed.names, moving.names, strict=True):
        if one and other and one != other:
            what = f"line {line} is named {other}, but {one} in {fixed.path}"
            raise FileError(moving.path, what, "Bring the lines into the same order.")


def check_within(landmarks: Landmarks, size: tuple[int, ...]) -> None:
    """Raise FileError for a landmark outside an image of `size` (H, W) pixels."""
    outside = ((landmarks.places < -0.5) | (landmarks.places > np.array(size) - 0.5)).any(axis=1)
    if outside.any():
        line = landmarks.lines[int(outside.argmax())]
        y, x = landmarks.places[outside][0]
        what = f"line {line}, y = {y:g} and x = {x:g}, lies outside its image of {size[0]} x {size[1]} pixels"
        raise FileError(landmarks.path, what, "Landmarks are in pixels, counted from 0, y down and x to the right.")


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_PLACE:  # nor is NaN
        raise FileError(path, f"line {line} holds {(text or 'nothing')!r} where a number should be", _REMEDY)
    return value
