"""Resample a picture by a flow, in its own intensities, with ITK's rule at the border.

Pixels are areas: a point within half a pixel outside the outermost pixel centres has the value of the border pixel, and
a point farther out lies outside the image. So ITK and ANTs give the same values for the same displacement field.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from regstudio.networks import warp as warp_module
from regstudio.networks.warp import SpatialTransformer

Array = npt.NDArray[Any]


def warp(moving: Array, flow: Array, mode: Literal["bilinear", "nearest"]) -> Array:
    """Return moving(p + flow(p)), 0 outside: (H, W), in float64 or, for "nearest", in the moving array's own dtype.

    The nearest pixel keeps label ids exactly, up to 2^53.
    """
    with torch.inference_mode():
        image, field = (torch.from_numpy(array.astype(np.float64))[None] for array in (moving[None], flow))
        warped: Array = SpatialTransformer(mode)(image, field)[0, 0].numpy()
    return warped if mode == "bilinear" else warped.astype(moving.dtype)


def affine_after(matrix: Array, flow: Array) -> Array:
    """Compose `flow` (2, H, W), applied first, with the affine map p -> `matrix` @ (y, x, 1): p -> A(p + flow(p)) - p.

    Returns (2, H, W) in float64; a flow of zeros gives the affine map's own flow. This is
    regstudio.networks.warp.affine_after for NumPy arrays.
    """
    composed = warp_module.affine_after(*(torch.from_numpy(array.astype(np.float64))[None] for array in (matrix, flow)))
    result: Array = composed[0].numpy()
    return result


def points_into(shape: tuple[int, ...], flow: Array) -> Array:
    """Return the sampling points (2, H, W) of a flow (2, H, W): rows and columns in a picture of `shape`, float64.

    A picture of another size than the flow has the same field of view: the outer edges of the outer pixels coincide.
    """
    points: Array = np.indices(flow.shape[1:]) + flow.astype(np.float64)
    scale = np.reshape(shape, (2, 1, 1)) / np.reshape(flow.shape[1:], (2, 1, 1))
    return points if (scale == 1).all() else (points + 0.5) * scale - 0.5


def sample_linear(array: Array, points: Array, fill: Array | None = None) -> Array:
    """Sample `array` (H', W'[, C]) at `points` (2, H, W) by bilinear interpolation: (H, W[, C]) in the array's dtype.

    Interpolates in float64, each channel for itself, and rounds for integer dtypes. Points outside, and NaN, get `fill`
    (see `fill_value`).
    """
    fill = fill_value(array) if fill is None else fill
    inside = _inside(array.shape[:2], points)
    clamped = np.clip(np.where(inside, points, 0), 0, np.reshape(array.shape[:2], (2, 1, 1)) - 1)
    flow = torch.from_numpy(clamped - np.indices(points.shape[1:]))[None]
    channels = np.ascontiguousarray(np.moveaxis(np.atleast_3d(array), 2, 0), np.float64)
    values = SpatialTransformer("bilinear")(torch.from_numpy(channels)[None], flow)[0].numpy()
    whole = np.rint(values) if array.dtype.kind in "bui" else values
    sampled: Array = np.where(inside[..., None], np.moveaxis(whole, 0, -1).astype(array.dtype), fill)
    return sampled if array.ndim == 3 else sampled[..., 0]


def fill_value(array: Array) -> Array:
    """Return what lies outside a picture (H, W) or (H, W, C), for each channel: its minimum, (1,) or (C,).

    That is 0 after normalisation: air in a CT, where 0 would be water.
    """
    return (
        np.array([array.min()]) if array.ndim == 2 else np.array([array[..., c].min() for c in range(array.shape[2])])
    )


def sample_nearest(array: Array, points: Array) -> Array:
    """Sample `array` (H', W') at the pixels nearest to `points` (2, H, W), 0 outside: (H, W) in its dtype."""
    inside = _inside(array.shape, points)
    rows, columns = np.rint(np.where(inside, points, 0)).astype(int)
    last_row, last_column = (length - 1 for length in array.shape)
    nearest = array[np.clip(rows, 0, last_row), np.clip(columns, 0, last_column)]
    sampled: Array = np.where(inside, nearest, array.dtype.type(0))
    return sampled


def _inside(shape: tuple[int, ...], points: Array) -> Array:
    with np.errstate(invalid="ignore"):  # NaN is outside
        inside = (points >= -0.5) & (points < np.reshape(shape, (2, 1, 1)) - 0.5)
    inside_both: Array = inside[0] & inside[1]
    return inside_both
