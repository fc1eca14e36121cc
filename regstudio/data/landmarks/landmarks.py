"""Landmarks as they were read from a file, and whether those of two images correspond."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.working_grid import Spacing
from regstudio.data.problems import FileError

MAX_PLACE = 1e9  # in pixels or mm
REMEDY = "Give it a first line `y,x` and a line of two numbers, in pixels, for each landmark."
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
NO_GEOMETRY = np.eye(4)[[1, 0, 2, 3]] * np.array([[-1.0], [-1.0], [1.0], [1.0]])  # columns along L, rows along P, 1 mm

Array = npt.NDArray[np.float64]
Family = Literal["table", "bigwarp", "fcsv", "markups", "elastix"]  # who writes such files
Side = Literal["fixed", "moving"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """Points `places` (n, 2), y and x in pixels, and their names; a name is empty if the file has none.

    `lines` are those of the file that the points come from. `world` (n, 3) are the points in RAS+ and mm, where the
    file holds such; `places` then needs the geometry of an image, see `on`. `text` is the whole file, in the form of
    its `family` and in an `encoding`; of BigWarp's, `side` was read.
    """

    path: Path
    places: Array
    names: tuple[str, ...]
    lines: tuple[int, ...]
    world: Array | None = None
    family: Family = "table"
    text: str = ""
    encoding: str = "utf-8"
    side: Side = "fixed"

    def on(self, affine: Array | None) -> "Landmarks":
        """Return the landmarks in pixels of an image whose `affine` (4, 4) takes (row, column, slice, 1) to RAS+."""
        if self.world is None or affine is None:
            return self
        return replace(self, places=to_pixels(self.world, affine))


@dataclass(frozen=True, kw_only=True, eq=False)
class PairPoints:
    """Corresponding points (n, 2), y and x in pixels of the grid.

    `pixel` is the height and width of a pixel of the grid in pixels of the fixed file, and `mm` in the moving image's
    mm; None where no file knows its spacing.
    """

    fixed: Array
    moving: Array
    pixel: Spacing
    mm: Spacing | None


def to_pixels(world: Array, affine: Array) -> Array:
    """Return points in RAS+ and mm (n, 3) in pixels (n, 2) of an image with that affine."""
    pixels: Array = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    return pixels[:, :2]


def to_world(places: Array, affine: Array) -> Array:
    """Return points in pixels (n, 2) of an image with that affine in RAS+ and mm (n, 3)."""
    world: Array = places @ affine[:3, :2].T + affine[:3, 3]
    return world


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


def number(path: Path, line: int, text: str | None) -> float:
    """Return a cell of a file of landmarks as a number; raises FileError."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_PLACE:  # nor is NaN
        raise FileError(path, f"line {line} holds {(text or 'nothing')!r} where a number should be", REMEDY)
    return value
