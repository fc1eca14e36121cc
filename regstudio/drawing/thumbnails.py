"""Thumbnails: small pictures of images with their labels outlined, for a contact sheet; arrays in, pictures out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.drawing.colours import Colour, label_colours

Array = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]
Spacing = tuple[float, float]  # of rows and columns

MAX_ASPECT = 20.0  # of a pixel; what a damaged header says beyond would make pictures without end


def aspect_of(spacing: Spacing | None) -> float:
    """Return the height of a pixel over its width; 1 where nothing is known."""
    rows, columns = spacing or (1.0, 1.0)
    ratio = rows / columns if rows > 0 and columns > 0 else 1.0
    return min(max(ratio, 1 / MAX_ASPECT), MAX_ASPECT)


def thumbnail(
    image: Array,
    label: Array | None = None,
    *,
    size: int = 192,
    colours: Mapping[int, Colour] | None = None,
    aspect: float = 1.0,
) -> Picture:
    """Return an image (H, W) or (H, W, 3) in [0, 1] as RGB (h, w, 3), its longer side `size`, the label's ids outlined.

    `aspect` is the height of a pixel over its width.
    Shrinking averages, so that nothing flickers; enlarging repeats pixels. The label may have another size than the
    image: it is taken to show the same field of view. Only ids in `colours` are outlined; by default all of this label.
    """
    sides = (image.shape[0] * aspect, image.shape[1])
    height, width = (max(1, round(side * size / max(sides))) for side in sides)
    pixels = np.rint(_resample(image, height, width).clip(0, 1) * 255).astype(np.uint8)
    picture: Picture = np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels
    if label is not None:
        ids = label[np.ix_(_nearest(label.shape[0], height), _nearest(label.shape[1], width))]
        border = _border(ids)
        for number, colour in (label_colours(np.unique(ids)) if colours is None else colours).items():
            picture[border & (ids == number)] = colour
    return picture


def _resample(image: Array, height: int, width: int) -> npt.NDArray[np.float32]:
    shrunk: npt.NDArray[np.float32] = image.astype(np.float32)
    for axis, after in enumerate((height, width)):
        before = shrunk.shape[axis]
        if after >= before:
            shrunk = shrunk.take(_nearest(before, after), axis)
            continue
        starts = np.arange(after) * before // after
        counts = np.diff(np.append(starts, before)).astype(np.float32)
        shape = [-1 if place == axis else 1 for place in range(shrunk.ndim)]
        shrunk = np.divide(np.add.reduceat(shrunk, starts, axis), counts.reshape(shape), dtype=np.float32)
    return shrunk


def _nearest(before: int, after: int) -> npt.NDArray[np.int64]:
    return ((np.arange(after) + 0.5) * before / after).astype(np.int64)


def _border(ids: Array) -> npt.NDArray[np.bool_]:
    """Return the pixels next to a pixel of another id; the picture's edge is no border."""
    border = np.zeros(ids.shape, bool)
    for axis in (0, 1):
        one, other = np.moveaxis(ids, axis, 0)[:-1], np.moveaxis(ids, axis, 0)[1:]
        changes = one != other
        along = np.moveaxis(border, axis, 0)
        along[:-1] |= changes
        along[1:] |= changes
    return border
