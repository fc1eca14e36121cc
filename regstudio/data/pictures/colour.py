"""Colours as grey values: what of a picture in colour is registered, and which background becomes 0.

The stains of a section are told apart by colour deconvolution: absorbances add up, so they are those of the pure stains
times their amounts. Source: Ruifrok and Johnston, "Quantification of histochemical staining by color deconvolution",
Anal. Quant. Cytol. Histol. 2001; the stains' colours are those of scikit-image (hed).
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Background = Literal["auto", "black", "white"]

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's own conversion to grey
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])  # hematoxylin, eosin, DAB
LEAST = 1e-6  # of the light: what is darker has no more stain
DARK = 0.02  # of the range of values: a background without noise
BRIGHT, EVEN = 0.85, 0.1  # of the range of values: a border that is so bright, and so even, is background
BORDER_SHARE = 0.02  # of the shorter side


def brightness(array: Array) -> Array:
    """Return the brightness (H, W) of a picture (H, W) or (H, W, C), without opacity, in its own dtype."""
    if array.ndim == 2:
        return array
    if array.shape[-1] == 2:
        return np.ascontiguousarray(array[..., 0])
    bright: Array = array[..., :3] @ LUMINANCE
    return bright if array.dtype.kind == "f" else np.rint(bright).astype(array.dtype)


def grey_image(array: Array, rule: str, dtype: np.dtype[Any]) -> Array:
    """Return one value (H, W) for each pixel of a picture (H, W) or (H, W, C), by the setting `grey`.

    `dtype` is that of the file, whose largest whole number is white; floats are white at 1. Grey pictures are as they
    are, and have no stains. Raises ValueError for a channel that is not there.
    """
    if rule.startswith("channel:") and array.ndim == 3:
        number = int(rule.removeprefix("channel:"))
        if number >= array.shape[2]:
            raise ValueError(f"has {array.shape[2]} channels, counted from 0, and no channel {number}")
        return np.ascontiguousarray(array[..., number])
    if rule == "luminance" or array.ndim == 2 or array.shape[-1] == 2:
        return brightness(array)
    light = array[..., :3] / (np.iinfo(dtype).max if dtype.kind in "ui" else 1.0)
    if rule == "saturation":
        highest = light.max(axis=-1)
        saturation: Array = (highest - light.min(axis=-1)) / np.maximum(highest, LEAST)
        return saturation
    absorbed = np.log(np.maximum(light, LEAST)) / np.log(LEAST)
    amounts: Array = absorbed @ np.linalg.inv(STAINS)[:, ("hematoxylin", "eosin").index(rule)]
    return np.maximum(amounts, 0)


def dark_background(array: Array, background: Background, grey: str) -> Array:
    """Return an image (H, W) whose background is dark: turned over if it is white, or "auto" if its border is so.

    Stains and saturation leave a white background dark, and are never turned over.
    """
    if grey not in ("luminance",) and not grey.startswith("channel:"):
        return array
    if background == "black" or (background == "auto" and not _has_bright_border(array)):
        return array
    turned: Array = array.max() - array if array.dtype.kind != "b" else ~array
    if array.dtype.kind == "i":  # the span of signed numbers may be beyond their type
        turned = array.max().astype(np.int64) - array.astype(np.int64)
    return turned


def foreground(image: Array) -> Array:
    """Return where an image (H, W) in [0, 1] shows something: not the dark background that begins at its border.

    All of it counts where the border is not dark, or where nothing else is there.
    """
    from scipy import ndimage  # imported late: it takes a third of a second, and few trainings need it

    regions, _ = ndimage.label(image <= DARK)
    border = np.concatenate((regions[0], regions[-1], regions[:, 0], regions[:, -1]))
    outside = np.isin(regions, np.unique(border[border > 0]))
    shown: Array = ~outside
    return shown if shown.any() else np.ones_like(shown)


def _has_bright_border(array: Array) -> bool:
    """Whether the border of an image is nearly white all around: the slide that a section lies on, or paper."""
    width = max(1, round(BORDER_SHARE * min(array.shape)))
    sides = (array[:width], array[-width:], array[:, :width], array[:, -width:])
    border = np.concatenate([side.ravel() for side in sides]).astype(np.float64)
    lowest, highest = float(array.min()), float(array.max())
    if highest == lowest:
        return False
    low, middle, high = (np.percentile(border, (10, 50, 90)) - lowest) / (highest - lowest)
    return bool(middle >= BRIGHT and high - low <= EVEN)
