"""The working grid: the pixels on which pairs are registered, where each picture lies on them, and how it gets there.

Pictures of any size and pixel shape are brought onto one grid. They are reduced by means over areas, so that nothing
aliases, and enlarged linearly; labels take the nearest pixel.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from regstudio.data.pictures.formats import MIN_SIDE

Array = npt.NDArray[Any]
Size = tuple[int, int]
Spacing = tuple[float, float]
Fit = Literal["pad", "stretch"]

LARGEST_OWN = 512  # pixels of the longer side, up to which the fixed image's own size is taken
REDUCED = 256  # pixels of the longer side, where the fixed image is larger
SQUARE: Spacing = (1.0, 1.0)
MAX_SHAPE_DIFFERENCE = 0.02  # of height over width, up to which two sizes may show the same field of view


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a picture of `size` (H, W) lies on a grid (h, w): index i of it is index `step * i + start` of the picture.

    Both are given for rows and columns. Where the grid reaches beyond the picture, there is nothing.
    """

    size: Size
    grid: Size
    step: Spacing
    start: Spacing

    @cached_property
    def is_identity(self) -> bool:
        """Whether the grid has the picture's own pixels."""
        return self.size == self.grid and self.step == SQUARE and self.start == (0, 0)

    @cached_property
    def covered(self) -> tuple[slice, slice]:
        """The rows and columns of the grid whose centres lie within the picture."""
        rows, columns = (
            slice(max(0, int(np.ceil((-0.5 - start) / step - 1e-9))), min(n, int((size - 0.5 - start) / step) + 1))
            for size, n, step, start in zip(self.size, self.grid, self.step, self.start, strict=True)
        )
        return rows, columns

    def to_picture(self, places: Array) -> Array:
        """Return places (n, 2), y and x in pixels of the grid, in pixels of the picture."""
        moved: Array = places * self.step + self.start
        return moved

    def to_grid(self, places: Array) -> Array:
        """Return places (n, 2), y and x in pixels of the picture, in pixels of the grid."""
        moved: Array = (places - np.array(self.start)) / self.step
        return moved


def same_shape(label: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Return whether a label of some size can be brought to an image's by resizing alone."""
    (height, width), (rows, columns) = label, image
    return abs(height * columns / (width * rows) - 1) <= MAX_SHAPE_DIFFERENCE


def spanning(size: Size, grid: Size) -> Placement:
    """Return the placement of a picture whose outer edges are those of the grid."""
    height, width = (length / n for length, n in zip(size, grid, strict=True))
    return Placement(size=size, grid=grid, step=(height, width), start=((height - 1) / 2, (width - 1) / 2))


@dataclass(frozen=True, kw_only=True)
class WorkingGrid:
    """A grid of `size` (h, w), and how pictures are fitted onto it.

    `pixel` is the height and width of its pixels, of which only the ratio counts: a picture keeps its shape in mm with
    "pad", and fills the grid with "stretch". Pictures that know no spacing have the one that is `assumed`.
    """

    size: Size
    fit: Fit = "pad"
    pixel: Spacing = SQUARE
    assumed: Spacing = SQUARE

    def place(self, size: Size, spacing: Spacing | None = None) -> Placement:
        """Return where a picture of `size` (H, W), its pixels of `spacing`, lies on the grid: as large as it can be."""
        if self.fit == "stretch":
            return spanning(size, self.size)
        lengths = [n * mm / unit for n, mm, unit in zip(size, spacing or self.assumed, self.pixel, strict=True)]
        scale = max(length / n for length, n in zip(lengths, self.size, strict=True))
        filled = [length / scale for length in lengths]
        # A strip of less than a pixel is no padding, but the rounding of the grid's size.
        filled = [n if abs(n - length) < 1 else length for n, length in zip(self.size, filled, strict=True)]
        height, width = (n / length for n, length in zip(size, filled, strict=True))
        rows, columns = (
            (n - 1) / 2 - step * (across - 1) / 2
            for n, step, across in zip(size, (height, width), self.size, strict=True)
        )
        return Placement(size=size, grid=self.size, step=(height, width), start=(rows, columns))


@dataclass(frozen=True, kw_only=True)
class GridRule:
    """How a working grid follows from the fixed image: the settings `working_size` and `fit`.

    `working_size` is "own", the fixed image's size; "auto", the same up to LARGEST_OWN pixels, else REDUCED; a number
    of pixels for the longer side; or HxW, rows and columns. The pixels of a grid of another size than the fixed
    image's own are square in mm.
    """

    working_size: str = "auto"
    fit: Fit = "pad"

    def grid(self, size: Size, spacing: Spacing | None) -> WorkingGrid:
        """Return the grid for a fixed image of `size` (H, W), its pixels of `spacing` if it knows that."""
        pixel, wanted = spacing or SQUARE, self.working_size
        if wanted == "own" or (wanted == "auto" and max(size) <= LARGEST_OWN):
            return WorkingGrid(size=size, fit=self.fit, pixel=pixel, assumed=pixel)
        if "x" in wanted:
            rows, columns = (int(number) for number in wanted.split("x"))
            return WorkingGrid(size=(rows, columns), fit=self.fit, assumed=pixel)
        longer = REDUCED if wanted == "auto" else int(wanted)
        lengths = [n * mm for n, mm in zip(size, pixel, strict=True)]
        rows, columns = (max(MIN_SIDE, round(longer * length / max(lengths))) for length in lengths)
        return WorkingGrid(size=(rows, columns), fit=self.fit, assumed=pixel)


def resampled(array: Array, place: Placement) -> Array:
    """Return the part of the grid that a picture (H, W) or (H, W, C) covers, `place.covered`: in float64, in its range.

    Pixels are means over the area that they cover; linear between pixel centres where they are smaller than those. The
    picture's own pixels come back as they are, in their type.
    """
    if place.is_identity:
        return array
    for axis in (0, 1):
        indices = range(*place.covered[axis].indices(place.grid[axis]))
        moved = array.swapaxes(0, axis)
        weights = [_weights(i, place.step[axis], place.start[axis], len(moved)) for i in indices]
        rows = [np.tensordot(some, moved[first : first + len(some)], axes=1) for first, some in weights]
        array = np.stack(rows).swapaxes(0, axis)
    return np.ascontiguousarray(array)


def nearest(array: Array, place: Placement) -> Array:
    """Return a label map (H, W) on the whole grid, by nearest neighbour; 0 where it does not reach."""
    if place.is_identity:
        return array
    rows, columns = (
        np.floor(step * np.arange(*covered.indices(n)) + start + 0.5).astype(int).clip(0, length - 1)
        for covered, n, step, start, length in zip(
            place.covered, place.grid, place.step, place.start, place.size, strict=True
        )
    )
    return padded(array[np.ix_(rows, columns)], place, 0)


def padded(part: Array, place: Placement, value: Any) -> Array:
    """Return the whole grid from the part of it that a picture covers, filled with `value` elsewhere."""
    if part.shape[:2] == place.grid:
        return part
    whole = np.full((*place.grid, *part.shape[2:]), value, part.dtype)
    whole[place.covered] = part
    return whole


def _weights(index: int, step: float, start: float, length: int) -> tuple[int, Array]:
    """Return which pixels of a side make pixel `index` of the grid: the first one, and the weights from there on."""
    centre = step * index + start
    if step <= 1:
        centre = min(max(centre, 0.0), length - 1.0)
        first = min(int(centre), max(0, length - 2))
        share = centre - first
        return first, np.array([1 - share, share][: length - first])
    lower, upper = max(0.0, centre + 0.5 - step / 2), min(float(length), centre + 0.5 + step / 2)
    first, last = int(lower), min(length, int(np.ceil(upper - 1e-9)))
    edges = np.arange(first, last + 1, dtype=np.float64).clip(lower, upper)
    return first, np.diff(edges) / (upper - lower)
