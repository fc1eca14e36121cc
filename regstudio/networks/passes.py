"""Several passes of one network over a pair, coarse to fine: each adds to the velocity field what the last left over.

A network sees as far as its coarsest level. At a quarter of the size, four times as far; and once the moving image is
warped with what is known, what is left is small. The sum of velocity fields is not quite the composition of their
flows; the next pass, which sees the result, makes up for it. So the whole stays one velocity field, with an inverse.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.networks.base import MIN_SIDE, RegistrationNetwork
from regstudio.networks.warp import integrate, resize_flow

SCALES = (4, 2, 1)
WORKING_SIDE = 128  # pixels of the shorter side at which a pair is registered


def coarse_to_fine(
    network: RegistrationNetwork, fixed: Tensor, moving: Tensor, scales: Sequence[int] = SCALES
) -> Iterator[Tensor]:
    """Yield the velocity field after each pass, at 1 / scale of the size and in its pixels: (B, 2, H / s, W / s).

    `fixed` and `moving` are (B, 1, H, W), H and W multiples of the largest of `scales`; each is at most the one before.
    No gradient flows from one pass into those before. Scales at which a side is below MIN_SIDE are left out.
    Raises ValueError for a network that predicts no velocity field.
    """
    if network.transform != "svf":
        raise ValueError("only velocity fields can be added up; the network's transform is 'displacement'")
    velocity: Tensor | None = None
    before = 0
    for scale in scales:
        if min(moving.shape[2:]) < scale * MIN_SIDE:
            continue
        small_fixed, small_moving = (F.avg_pool2d(image, scale) if scale > 1 else image for image in (fixed, moving))
        if velocity is None:
            velocity = network.field(small_fixed, small_moving)
        else:
            known = _enlarged(velocity.detach(), before // scale)
            velocity = known + network.field(small_fixed, network.warp(small_moving, integrate(known)))
        before = scale
        yield velocity


@torch.no_grad()
def register(network: RegistrationNetwork, fixed: Tensor, moving: Tensor) -> Tensor:
    """Return the flow (B, 2, H, W) of images of any size (B, 1, H, W), found at WORKING_SIDE pixels."""
    return resize_flow(integrate(_working_velocity(network, fixed, moving)), moving.shape[2:])


@torch.no_grad()
def full_velocity(network: RegistrationNetwork, fixed: Tensor, moving: Tensor) -> Tensor:
    """Return the velocity field of `register`, (B, 2, H, W) in pixels of the whole images."""
    return resize_flow(_working_velocity(network, fixed, moving), moving.shape[2:])


def _working_velocity(network: RegistrationNetwork, fixed: Tensor, moving: Tensor) -> Tensor:
    """The last velocity field at the working size, which all passes are possible at; small images are enlarged."""
    full, multiple = moving.shape[2:], max(SCALES)
    size = [round(length * WORKING_SIDE / min(full) / multiple) * multiple for length in full]
    *_, velocity = coarse_to_fine(network, _resized(fixed, size), _resized(moving, size))
    return velocity


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    if min(image.shape[2:]) < min(size):
        return F.interpolate(image, size, mode="bilinear", align_corners=False)
    return F.interpolate(image, size, mode="area")


def _enlarged(field: Tensor, factor: int) -> Tensor:
    """The field on a finer grid whose pixels are areas, in its pixels."""
    if factor == 1:
        return field
    return factor * F.interpolate(field, scale_factor=factor, mode="bilinear", align_corners=False)
