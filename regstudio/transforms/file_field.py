"""The flow between the files of a pair: from the working grid, on which it was found, to the files' own pixels.

Results are sampled once, from the files as they are, strip by strip: a picture of any size needs little more memory
than itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.working_grid import Placement, Size, spanning
from regstudio.transforms.resampling import fill_value, sample_linear, sample_nearest

Array = npt.NDArray[Any]

MAX_NODES = 2**22  # of a field; a larger picture has them farther apart than its pixels
TILE = 512  # pixels: the side of what is sampled at once


@dataclass(frozen=True, kw_only=True, eq=False)
class FileField:
    """A pull-back between two files: pixel p of the one of `size` belongs to pixel p + flow(p) of the other.

    `flow` (2, h, w), (dy, dx) in pixels of the files, is known at nodes that are spread evenly from the first to the
    last pixel along each side, and linear in between. `image_size` is the size of the other file.
    """

    flow: Array
    size: Size
    image_size: Size

    @cached_property
    def step(self) -> tuple[float, float]:
        """The distance of its nodes along rows and columns, in pixels."""
        rows, columns = (
            (length - 1) / (nodes - 1) if nodes > 1 else 1.0
            for length, nodes in zip(self.size, self.flow.shape[1:], strict=True)
        )
        return rows, columns

    def targets(self, rows: Array, columns: Array) -> Array:
        """Return where pixels lead to in the other file: (2, n, m) for n `rows` and m `columns`, in its pixels."""
        flow = _linear(_linear(self.flow, rows / self.step[0], 1), columns / self.step[1], 2)
        targets: Array = flow + np.stack(np.meshgrid(rows, columns, indexing="ij"))
        return targets

    def warped(self, array: Array, size: Size | None = None, *, label: bool = False, tile: int = TILE) -> Array:
        """Return the other file's picture (H', W') or (H', W', C) as this field warps it, in its dtype.

        Images are interpolated linearly, with `label` the nearest pixel is taken. `size` is that of the result, which
        has the same outer edges; the field's own if not given. Squares of `tile` pixels are sampled at once.
        """
        height, width = size or self.size
        place = spanning(self.size, (height, width))
        result = np.empty((height, width, *array.shape[2:]), array.dtype)
        fill = array.dtype.type(0) if label else fill_value(array)
        for rows, columns in _tiles(height, width, tile):
            where = (
                np.arange(part.start, part.stop) * step + start for part, step, start in _axes(rows, columns, place)
            )
            targets = self.targets(*where)
            part, targets = _cropped(array, targets)
            result[rows, columns] = sample_nearest(part, targets) if label else sample_linear(part, targets, fill)
        return result


def field_between(flow: Array, on: Placement, image: Placement) -> FileField:
    """Return the flow (2, h, w) of a working grid, in its pixels, between the files that lie on it as they are placed.

    The flow is interpolated linearly between the grid's pixels, and goes on as it is beyond them.
    """
    if on.is_identity and image.is_identity and flow[0].size <= MAX_NODES:
        return FileField(flow=flow, size=on.size, image_size=image.size)
    shrink = max(1.0, (on.size[0] * on.size[1] / MAX_NODES) ** 0.5)
    nodes = [max(2, int(length / shrink)) for length in on.size]
    pixels = [np.linspace(0, length - 1, n) for length, n in zip(on.size, nodes, strict=True)]
    rows, columns = ((p - start) / step for p, step, start in zip(pixels, on.step, on.start, strict=True))
    reached = _linear(_linear(flow.astype(np.float64), rows, 1), columns, 2)
    for axis, (grid, own) in enumerate(zip(np.ix_(rows, columns), np.ix_(*pixels), strict=True)):
        reached[axis] = (reached[axis] + grid) * image.step[axis] + image.start[axis] - own
    return FileField(flow=reached.astype(np.float32), size=on.size, image_size=image.size)


def _linear(maps: Array, places: Array, axis: int) -> Array:
    """Interpolate linearly along an axis, at `places` in its indices; beyond its ends, as it is there."""
    last = maps.shape[axis] - 1
    places = places.clip(0, last)
    first = np.minimum(places.astype(int), max(0, last - 1))
    share = np.reshape(places - first, [-1 if place == axis else 1 for place in range(maps.ndim)])
    lower, upper = (maps.take(index, axis).astype(np.float64) for index in (first, np.minimum(first + 1, last)))
    between: Array = lower + share * (upper - lower)
    return between


def _tiles(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(height, top + side)), slice(left, min(width, left + side))


def _axes(rows: slice, columns: slice, place: Placement) -> Iterator[tuple[slice, float, float]]:
    return zip((rows, columns), place.step, place.start, strict=True)


def _cropped(array: Array, targets: Array) -> tuple[Array, Array]:
    """Return the part of a picture that targets (2, n, m) may look at, and the targets in it.

    Its borders are those of the picture, or farther than a pixel from any target, so that inside and outside stay.
    """
    parts, moved = [], []
    for length, places in zip(array.shape[:2], targets, strict=True):
        inside = places[(places > -1) & (places < length)]
        first = max(0, int(inside.min()) - 2) if inside.size else 0
        last = min(length, int(inside.max()) + 4 if inside.size else 4)
        # What lies beyond the picture must not come to lie in what is left of it.
        outside = ~((places >= -0.5) & (places < length - 0.5))
        parts.append(slice(first, last))
        moved.append(np.where(outside, np.nan, places - first))
    return array[parts[0], parts[1]], np.stack(moved)
