"""Correction: a transform that landmarks of the pair lead where a person says, and that is near to another elsewhere.

The pair optimiser compares the fixed image with the moving one as the given transform warps it, and its landmark term
holds the points together. It starts from no deformation, and stays near it: away from the points nothing changes much.
"""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.pairs.pair import Pair
from regstudio.errors import DataError
from regstudio.methods.energy import Points
from regstudio.methods.masks import as_tensors, counted, mask_arrays
from regstudio.methods.optimiser import OptimiserSettings, images_of, optimise, settings_for
from regstudio.methods.similarity_choice import similarity_as_registered
from regstudio.networks import ops
from regstudio.transforms.apply import move_points
from regstudio.transforms.file_field import FileField
from regstudio.transforms.transform import Transform

Array = npt.NDArray[Any]

LANDMARK_WEIGHT = 2.0  # of the mean squared distance in pixels: a person knows better than the images
STEPS = (40, 25)
COARSEST = 24  # pixels of the shorter side: one point is to move what is around it


@torch.no_grad()
def corrected(pair: Pair, transform: Transform) -> Transform:
    """Return a transform near to that of a pair under which its landmarks meet; raises DataError without landmarks."""
    start = time.perf_counter()
    if pair.fixed_points is None or pair.moving_points is None or not len(pair.fixed_points):
        raise DataError("There are no landmarks to correct by. Place one on both images.")
    fixed, moving = images_of(pair, torch.device("cpu"))
    on, of = as_tensors(mask_arrays(pair))
    flow = torch.from_numpy(np.ascontiguousarray(transform.flow, np.float32))[None]
    seen = ops.warp(moving, flow, "bilinear", "border")
    of = None if of is None else ops.warp(of, flow, "bilinear", "border")
    found = optimise(
        fixed,
        seen,
        _settings(fixed, seen, counted((on, of), None)),
        velocity=torch.zeros_like(flow),
        fixed_mask=on,
        moving_mask=of,
        points=[Points(fixed=_tensor(pair.fixed_points), moving=_tensor(_as_seen(pair, transform)))],
    )
    inverse = transform.inverse_flow
    if inverse is not None:
        back = torch.from_numpy(np.ascontiguousarray(inverse, np.float32))[None]
        inverse = _after(found.inverse, back)
    return Transform(
        flow=_after(flow, found.flow),
        inverse_flow=inverse,
        mirrored=transform.mirrored,
        seconds=time.perf_counter() - start,
    )


def _settings(fixed: Tensor, seen: Tensor, mask: Tensor | None) -> OptimiserSettings:
    settings = settings_for(similarity_as_registered(fixed, seen, mask), expected=True)
    return replace(
        settings,
        weights=replace(settings.weights, landmarks=LANDMARK_WEIGHT),
        steps=STEPS,
        coarsest=COARSEST,
    )


def _as_seen(pair: Pair, transform: Transform) -> Array:
    """Return the moving landmarks (n, 2) where the warped moving image shows them."""
    height, width = pair.fixed.shape
    field = FileField(flow=transform.flow.astype(np.float64), size=(height, width), image_size=(height, width))
    assert pair.moving_points is not None
    places, _ = move_points(field, pair.moving_points, inverse=True)
    return places


def _tensor(points: Array) -> Tensor:
    return torch.from_numpy(points.astype(np.float32))


def _after(last: Tensor, first: Tensor) -> Array:
    """Return the flow (2, H, W) that goes by `first` and then by `last`, each (1, 2, H, W) in pixels."""
    flow: Array = (first + ops.warp(last, first, "bilinear", "border"))[0].numpy()
    return flow
