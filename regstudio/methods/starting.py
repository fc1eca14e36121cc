"""A start by hand: a person lays the moving image on the fixed one, and any method goes on from there."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from regstudio.data.pairs.pair import Pair, Points
from regstudio.methods.affine import Matrix, affine_flow, turns_over
from regstudio.methods.method import Method
from regstudio.networks.warp import inverse_affine_after
from regstudio.transforms.resampling import affine_after, warp
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]


def registered_from(method: Method, pair: Pair, start: Matrix) -> Transform:
    """Register a pair from an affine map (2, 3), in pixels of its grid: the fixed pixel p lies at `start` (p, 1).

    The method sees the moving image through the map, and what it finds comes before the map: the flow is that of both.
    """
    begun = time.perf_counter()
    found = method(_seen(pair, start))
    flow, affine, unrefined = (
        None if flow is None else affine_after(start, flow).astype(np.float32)
        for flow in (found.flow, found.affine_flow, found.unrefined_flow)
    )
    assert flow is not None
    return replace(
        found,
        flow=flow,
        affine_flow=affine_flow(start, pair.fixed.shape) if affine is None else affine,
        unrefined_flow=unrefined,
        inverse_flow=None if found.inverse_flow is None else _inverse(start, found.inverse_flow),
        mirrored=found.mirrored != turns_over(start),
        seconds=time.perf_counter() - begun,
    )


def _seen(pair: Pair, start: Matrix) -> Pair:
    """Return a pair as the map lays it; labels are for scoring, and stay away."""
    flow, points, mask = affine_flow(start, pair.fixed.shape), pair.moving_points, pair.moving_mask
    return replace(
        pair,
        moving=warp(pair.moving, flow, "bilinear").astype(np.float32),
        moving_label=None,
        moving_mask=None if mask is None else warp(mask, flow, "nearest"),
        moving_points=None if points is None else _led_to(start, points),
        moving_spacing=pair.spacing,
        pictures=None,
        laid_by_hand=True,
    )


def _led_to(start: Matrix, points: Points) -> Points:
    """Return the points (n, 2) that the map leads to `points`."""
    return np.asarray(np.linalg.solve(start[:, :2], (points - start[:, 2]).T).T, np.float64)


def _inverse(start: Matrix, inverse: Array) -> Array:
    """Return the inverse (2, H, W) of the flow that comes before the map as that of both."""
    matrix, flow = (torch.from_numpy(np.asarray(array, np.float32))[None] for array in (start, inverse))
    both: Array = inverse_affine_after(matrix, flow)[0].numpy()
    return both
