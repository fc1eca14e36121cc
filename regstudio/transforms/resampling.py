"""Sampling a picture where a flow points: in its own numbers, with ITK's rule for what lies at the border.

Pixels are areas: a point within half a pixel of the border's centres still shows the border pixel, and a point farther
out shows nothing of the image. So ITK's and ANTs' own resampling, given the same displacement, gives the same numbers.
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
    """Return the flow p -> A(p + flow(p)) - p of first `flow` (2, H, W), then the map (y, x) -> `matrix` @ (y, x, 1).

    The NumPy face of regstudio.networks.warp.affine_after, in float64; with a flow of zeros, the affine map's own flow.
    """
    composed = warp_module.affine_after(*(torch.from_numpy(array.astype(np.float64))[None] for array in (matrix, flow)))
    found: Array = composed[0].numpy()
    return found


def points_into(shape: tuple[int, ...], flow: Array) -> Array:
    """Return where a flow (2, H, W) points in a picture of `shape`: (2, H, W) float64, its rows and columns.

    A picture of another size than the flow shows the same field of view: the outer edges of the outer pixels coincide.
    """
    points: Array = np.indices(flow.shape[1:]) + flow.astype(np.float64)
    scale = np.reshape(shape, (2, 1, 1)) / np.reshape(flow.shape[1:], (2, 1, 1))
    return points if (scale == 1).all() else (points + 0.5) * scale - 0.5


def sample_linear(array: Array, points: Array) -> Array:
    """Return `array` (H', W') at `points` (2, H, W), bilinearly: (H, W) in the array's own dtype.

    Interpolated in float64, once, and rounded where the dtype has whole numbers only. What lies outside the image gets
    the image's minimum, which is what 0 stands for after normalisation: air in a CT, where 0 would be water.
    """
    inside = _inside(array.shape, points)
    lowest = array.min()
    clamped = np.clip(np.where(inside, points, 0), 0, np.reshape(array.shape, (2, 1, 1)) - 1)
    flow = torch.from_numpy(clamped - np.indices(points.shape[1:]))[None]
    values = SpatialTransformer("bilinear")(torch.from_numpy(array.astype(np.float64))[None, None], flow)[0, 0].numpy()
    whole = array.dtype.kind in "bui"
    sampled: Array = np.where(inside, (np.rint(values) if whole else values).astype(array.dtype), lowest)
    return sampled


def sample_nearest(array: Array, points: Array) -> Array:
    """Return `array` (H', W') at the nearest pixel to each of `points` (2, H, W), 0 outside it: (H, W), its dtype."""
    inside = _inside(array.shape, points)
    rows, columns = np.rint(np.where(inside, points, 0)).astype(int)
    last_row, last_column = (length - 1 for length in array.shape)
    nearest = array[np.clip(rows, 0, last_row), np.clip(columns, 0, last_column)]
    sampled: Array = np.where(inside, nearest, array.dtype.type(0))
    return sampled


def _inside(shape: tuple[int, ...], points: Array) -> Array:
    with np.errstate(invalid="ignore"):  # NaN is outside
        inside = (points >= -0.5) & (points < np.reshape(shape, (2, 1, 1)) - 0.5)
    both: Array = inside[0] & inside[1]
    return both
