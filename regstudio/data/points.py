"""Landmarks: corresponding points in two images, as CSV files beside the images.

The landmarks of NAME.ext are in NAME_points.csv, in the image's folder or in a sibling folder whose name ends in
_points (`validation_moving_points/` for `validation_moving/`). The first line names the columns: `y` (rows, down) and
`x` (columns, right), in pixels from 0 at the centre of the first pixel, and optionally `name`; others are ignored.
Row i in both files is the same place in the body.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from regstudio.data.formats import stem
from regstudio.data.listing import POINTS_SUFFIX
from regstudio.data.problems import FileError

_REMEDY = "Give it a first line `y,x` and a line of two numbers, in pixels, for each landmark."


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """Points `places` (n, 2), y and x in pixels, and their names; a name is empty if the file has none."""

    path: Path
    places: npt.NDArray[np.float64]
    names: tuple[str, ...]


def find_landmarks(image: Path) -> Path | None:
    """Return the landmark file of an image, or None if there is none."""
    name = stem(image) + POINTS_SUFFIX + ".csv"
    sibling = image.parent.with_name(image.parent.name + POINTS_SUFFIX)
    return next((folder / name for folder in (image.parent, sibling) if (folder / name).is_file()), None)


def read_landmarks(path: Path) -> Landmarks:
    """Read a landmark file; raises FileError if it is not one."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except FileNotFoundError:
        raise FileError(path, "there is no such file", "Check the name.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(path, f"cannot be read as a table ({error})", _REMEDY) from None
    if not rows or not {"y", "x"} <= rows[0].keys():
        raise FileError(path, "has no columns y and x" if rows else "holds no landmarks", _REMEDY)
    places = [[_number(path, line, row[axis]) for axis in ("y", "x")] for line, row in enumerate(rows, start=2)]
    return Landmarks(path=path, places=np.array(places), names=tuple(row.get("name") or "" for row in rows))


def check_pair(fixed: Landmarks, moving: Landmarks) -> None:
    """Raise FileError unless the landmarks of two images correspond: the same number, and the same names."""
    if len(fixed.places) != len(moving.places):
        what = f"holds {len(moving.places)} landmarks, but {fixed.path} holds {len(fixed.places)}"
        raise FileError(moving.path, what, "Row by row, the two are the same places: add what lacks.")
    for number, (one, other) in enumerate(zip(fixed.names, moving.names, strict=True), start=2):
        if one and other and one != other:
            what = f"line {number} is named {other}, but {one} in {fixed.path}"
            raise FileError(moving.path, what, "Bring the lines into the same order.")


def check_within(landmarks: Landmarks, size: tuple[int, ...]) -> None:
    """Raise FileError for a landmark outside an image of `size` (H, W) pixels."""
    outside = ((landmarks.places < -0.5) | (landmarks.places > np.array(size) - 0.5)).any(axis=1)
    if outside.any():
        line = int(outside.argmax()) + 2
        y, x = landmarks.places[outside][0]
        what = f"line {line}, y = {y:g} and x = {x:g}, lies outside its image of {size[0]} x {size[1]} pixels"
        raise FileError(landmarks.path, what, "Landmarks are in pixels, counted from 0, y down and x to the right.")


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileError(path, f"line {line} holds {(text or 'nothing')!r} where a number should be", _REMEDY)
    return value
