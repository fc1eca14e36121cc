"""A part of a registered pair at the resolution of its files, as much of it as a screen has pixels for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.data.loading.working_grid import Placement
from regstudio.transforms.file_field import FileField
from regstudio.transforms.resampling import sample_linear

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of the working grid by its outer edges, in pixels of the grid: the whole one is 0, 0, h, w."""

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FullResolution:
    """The pictures of a pair as they are shown, (H, W) or (H, W, 3) bytes, where they lie, and the fields."""

    fixed: Bytes
    moving: Bytes
    places: tuple[Placement, Placement]
    fields: tuple[FileField, ...]

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return self.fixed.nbytes + self.moving.nbytes + sum(field.flow.nbytes for field in self.fields)

    def region(self, side: str, box: Box, rows: int, columns: int, number: int = 0) -> Bytes:
        """Return what a part of the grid shows of the "fixed", "moving" or "warped" picture, on rows x columns pixels.

        Pixels of the file are averaged where they are smaller than those of the result. `number` is that of the field.
        """
        array = self.fixed if side == "fixed" else self.moving
        place = self.places[1 if side == "moving" else 0]
        axes = []
        for axis, (first, last, count) in enumerate(((box.top, box.bottom, rows), (box.left, box.right, columns))):
            centres = first + (np.arange(count) + 0.5) * (last - first) / count - 0.5
            axes.append(centres * place.step[axis] + place.start[axis])
        targets = (
            self.fields[number].targets(*axes) if side == "warped" else np.stack(np.meshgrid(*axes, indexing="ij"))
        )
        return _averaged(array, targets)


def _averaged(array: Bytes, targets: Array) -> Bytes:
    """Sample a picture at targets (2, n, m) in its pixels, each as the mean of what lies around it; 0 outside."""
    steps = [
        float(np.median(np.abs(np.diff(targets[axis], axis=axis)))) if targets.shape[1 + axis] > 1 else 1.0
        for axis in (0, 1)
    ]
    every = max(1, int(min(steps)))
    parts, moved = [], []
    for length, places in zip(array.shape[:2], targets, strict=True):
        inside = places[(places >= -0.5) & (places < length - 0.5)]
        # Squares begin where the outermost target is the middle of one.
        first = round(inside.min() - (every - 1) / 2) - 2 * every if inside.size else 0
        first = max(first, first % every)
        last = min(length, int(inside.max()) + 2 * every + 2) if inside.size else every
        outside = ~((places >= -0.5) & (places < length - 0.5))
        parts.append(slice(first, last))
        moved.append(np.where(outside, np.nan, (places - first + 0.5) / every - 0.5))
    part = _reduced(array[parts[0], parts[1]], every)
    limits = np.reshape(part.shape[:2], (2, 1, 1)) - 1
    kept = np.stack(moved).clip(0, limits)  # NaN stays: that is outside
    fill = np.zeros(array.shape[2] if array.ndim == 3 else 1, np.uint8)
    return sample_linear(part, kept, fill)


def _reduced(array: Bytes, every: int) -> Bytes:
    """Return the means of squares of `every` x `every` pixels; beyond the border it goes on as it is there."""
    height, width = (max(2, -(-length // every)) for length in array.shape[:2])  # two are needed to lie between
    short = [(0, every * n - length) for n, length in zip((height, width), array.shape[:2], strict=True)]
    whole = np.pad(array, [*short, *[(0, 0)] * (array.ndim - 2)], mode="edge")
    if every == 1:
        return whole
    blocks = whole.reshape(height, every, width, every, *array.shape[2:])
    means: Bytes = np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
    return means
