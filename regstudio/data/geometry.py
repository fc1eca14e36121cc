"""Where a picture lies in the world, and the eight exact ways to turn it.

An array is [row, column] as ITK reads the file: the columns run along the file's first axis (x), the rows along its
second (y). Version 0.1 read NIfTI in nibabel's order, x first; networks of that time still see their files so.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
AxisRule = Literal["itk", "nibabel"]  # how a NIfTI file becomes an array; other formats have one way
Facing = tuple[tuple[float, ...], tuple[float, ...]]  # the unit vectors to the next row and to the next column

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's world axes to those of NIfTI; its own inverse
MAX_ANGLE = 15.0  # degrees between the axes of two pictures that are still said to lie alike
MAX_TURN = 45.0  # degrees: beyond, no exchange of axes brings two pictures nearer to each other
MIN_SPACING, MAX_SPACING, MAX_ORIGIN = 1e-9, 1e6, 1e9  # mm
MIN_VOLUME = 1e-6  # of the parallelepiped of a picture's unit vectors; 0 where two of them are one
MAX_OFFSET = 0.25  # pixels between the corners of a label and those of its image


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """Where the pixels of an array [row, column] lie, in mm: `affine` (4, 4) takes (row, column, slice, 1) to RAS+.

    `axes` are those of the file (0: x, 1: y, 2: z) that rows and columns are counted along. `placed` is False where the
    file tells the spacing alone: direction and origin are then ITK's defaults. Of `dimension` 2, the file knows x and y
    of the world alone.
    """

    affine: npt.NDArray[np.float64]
    axes: tuple[int, int] = (1, 0)
    placed: bool = True
    dimension: int = 3

    @property
    def rows_first(self) -> bool:
        """Whether the rows are counted along an earlier axis of the file than the columns."""
        return self.axes[0] < self.axes[1]

    @property
    def spacing(self) -> tuple[float, float]:
        """The distance between neighbouring rows and columns, in mm."""
        rows, columns = np.linalg.norm(self.affine[:3, :2], axis=0)
        return float(rows), float(columns)

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """The unit vectors (3, 3) to the next row, column and slice, as columns, in RAS+."""
        directions: npt.NDArray[np.float64] = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return directions

    @property
    def origin(self) -> npt.NDArray[np.float64]:
        """The centre (3,) of the first pixel, in RAS+ and mm."""
        return self.affine[:3, 3]

    @property
    def facing(self) -> Facing | None:
        """The directions of rows and columns, rounded: equal where pictures lie alike; None if the file has none."""
        if not self.placed:
            return None
        rows, columns = np.round(self.direction[:, :2].T, 4) + 0.0  # turns -0.0 into 0.0
        return tuple(rows.tolist()), tuple(columns.tolist())


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to turn or mirror a picture: swap rows and columns, then reverse them, as told."""

    swap: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    def __str__(self) -> str:
        """Return the turn in words: "turned by 180 degrees"."""
        return _WORDS[self.swap, self.reverse_rows, self.reverse_columns]

    def array(self, array: Array) -> Array:
        """Return an array (H, W, ...) turned: a view."""
        turned = array.swapaxes(0, 1) if self.swap else array
        return turned[:: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the size of a picture of `shape` (H, W, ...) once it is turned, or was before: the two are alike."""
        return (shape[1], shape[0]) if self.swap else (shape[0], shape[1])

    def back(self, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Return the matrix (4, 4) from indices of the turned picture to those of the picture of `shape` before."""
        height, width = self.shape(shape)
        reverse = np.eye(4)
        for axis, (length, reversed_) in enumerate(((height, self.reverse_rows), (width, self.reverse_columns))):
            if reversed_:
                reverse[axis, axis], reverse[axis, 3] = -1, length - 1
        return reverse[[1, 0, 2, 3]] if self.swap else reverse

    def geometry(self, geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
        """Return the geometry of a picture of `shape` once it is turned."""
        axes = geometry.axes[::-1] if self.swap else geometry.axes
        return Geometry(
            affine=geometry.affine @ self.back(shape) + 0.0,
            axes=(axes[0], axes[1]),
            placed=geometry.placed,
            dimension=geometry.dimension,
        )

    def points(self, places: Array, shape: tuple[int, ...], *, back: bool = False) -> Array:
        """Return points (n, 2), y and x in pixels of a picture of `shape`, in pixels of the turned one; or `back`."""
        matrix = self.back(shape) if back else np.linalg.inv(self.back(shape))
        moved: Array = places @ matrix[:2, :2].T + matrix[:2, 3]
        return moved


_WORDS = {
    (False, False, False): "as it is",
    (False, False, True): "mirrored left to right",
    (False, True, False): "mirrored top to bottom",
    (False, True, True): "turned by 180 degrees",
    (True, False, False): "with rows and columns exchanged",
    (True, False, True): "turned by 90 degrees clockwise",
    (True, True, False): "turned by 90 degrees counter-clockwise",
    (True, True, True): "with rows and columns exchanged and turned by 180 degrees",
}
TURNS = tuple(Turn(*choice) for choice in product((False, True), repeat=3))  # the first leaves all as it is


def spans_space(affine: Array) -> bool:
    """Return whether the first three columns of an affine (4, 4) of finite numbers lead three ways."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.all()) and bool(abs(np.linalg.det(affine[:3, :3] / lengths)) > MIN_VOLUME)


def is_plausible(affine: Array) -> bool:
    """Return whether an affine (4, 4) can be that of a picture: its spacings, its axes and its origin, in mm."""
    if not np.isfinite(affine).all() or np.abs(affine).max() > MAX_ORIGIN:
        return False
    spacings = np.linalg.norm(affine[:3, :3], axis=0)
    if spacings.min() < MIN_SPACING or spacings.max() > MAX_SPACING:
        return False
    return spans_space(affine)


def turn_to(own: Facing, wanted: Facing) -> tuple[Turn, float]:
    """Return what brings a picture's axes nearest to the wanted ones, and the largest angle that is left, in degrees.

    Above `MAX_TURN`, where no turn does, it is the first, which leaves the picture as it is.
    """
    axes, target = np.array(own), np.array(wanted)
    agreements = [(np.array(_turned_axes(turn, axes)) * target).sum(axis=1) for turn in TURNS]
    best = int(np.argmax([agreement.sum() for agreement in agreements]))
    angle = float(np.degrees(np.arccos(np.clip(agreements[best].min(), -1, 1))))
    return (TURNS[best], angle) if angle <= MAX_TURN else (TURNS[0], angle)


def _turned_axes(turn: Turn, axes: Array) -> tuple[Array, Array]:
    rows, columns = axes[::-1] if turn.swap else axes
    return -rows if turn.reverse_rows else rows, -columns if turn.reverse_columns else columns


def apart(label: Geometry, image: Geometry, shape: tuple[int, ...]) -> str | None:
    """Say how a label of `shape` lies elsewhere than its image, whose axes it has; None where the two lie alike."""
    if label.placed != image.placed or (not label.placed and label.spacing == (1, 1)):
        return None  # one of the two knows nothing that could differ; 1 mm is what a file tells that was told nothing
    if not np.allclose(label.spacing, image.spacing, rtol=1e-3):
        return f"has a spacing of {spacing_text(label.spacing)}, unlike its image with {spacing_text(image.spacing)}"
    if not label.placed:
        return None
    corners = np.array([(r, c, 0, 1) for r, c in product((0, shape[0] - 1), (0, shape[1] - 1))]).T
    known = min(label.dimension, image.dimension)
    offsets = ((label.affine - image.affine) @ corners)[:known]
    distance = float(np.linalg.norm(offsets, axis=0).max())
    if distance <= MAX_OFFSET * min(image.spacing):
        return None
    return f"lies up to {distance:.3g} mm away from its image"


def spacing_text(spacing: tuple[float, float]) -> str:
    """Return a spacing for people, with the digits that small ones need: "0.000325 x 0.000325 mm"."""
    return f"{spacing[0]:.4g} x {spacing[1]:.4g} mm"
