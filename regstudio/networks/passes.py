"""Several passes of one network over a pair, coarse to fine: each adds to the velocity field what the last left over.

A network sees as far as its coarsest level. At a quarter of the size, four times as far; and once the moving image is
warped with what is known, what is left is small. The sum of velocity fields is not quite the composition of their
flows; the next pass, which sees the result, makes up for it. So the whole stays one velocity field, with an inverse.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.networks.warp import SpatialTransformer, integrate, resampled

SCALES = (4, 2, 1)
NETWORK_SIDE = 128  # pixels of the shorter side at which a pair is registered
MIN_SIDE = 32  # pixels of the shorter side of what a network is shown


class Network(Protocol):
    """What passes are made of: a RegistrationNetwork."""

    transform: Literal["displacement", "svf"]
    warp: SpatialTransformer

    def one_pass(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the output for a pair of any size."""


def coarse_to_fine(network: Network, fixed: Tensor, moving: Tensor, scales: Sequence[int] = SCALES) -> Iterator[Tensor]:
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
            velocity = network.one_pass(small_fixed, small_moving)
        else:
            known = _enlarged(velocity.detach(), before // scale)
            velocity = known + network.one_pass(small_fixed, network.warp(small_moving, integrate(known)))
        before = scale
        yield velocity


def fields_at(network: Network, fixed: Tensor, moving: Tensor, side: int | None, passes: int) -> Iterator[Tensor]:
    """Yield the field after each pass, enlarged to the whole images and in their pixels: (B, 2, H, W).

    The network sees images whose shorter side has `side` pixels; small ones are enlarged, so that all passes are
    possible. Without a `side` it sees the images as they are, in a single pass.
    """
    if side is None:
        yield network.one_pass(fixed, moving)
        return
    full = moving.shape[2:]
    size = network_size(full, side, passes)
    small_fixed, small_moving = resampled(fixed, size), resampled(moving, size)
    if passes == 1:
        yield _in_pixels_of(full, network.one_pass(small_fixed, small_moving))
        return
    for field in coarse_to_fine(network, small_fixed, small_moving, [2**n for n in reversed(range(passes))]):
        yield _in_pixels_of(full, field)


def network_size(full: Sequence[int], side: int, passes: int) -> list[int]:
    """Return the size (h, w) at which images of `full` (H, W) are registered: the shorter side about `side` pixels.

    Whole numbers alone, as ONNX needs it: both are multiples of the coarsest pass's scale, rounded to the nearest.
    """
    multiple = 2 ** (passes - 1)
    height, width = full
    shorter = (height + width - abs(height - width)) // 2
    unit = shorter * multiple
    return [(2 * length * side + unit) // (2 * unit) * multiple for length in (height, width)]


@torch.no_grad()
def register(network: Network, fixed: Tensor, moving: Tensor) -> Tensor:
    """Return the flow (B, 2, H, W) of images of any size (B, 1, H, W), found at NETWORK_SIDE pixels."""
    return integrate(full_velocity(network, fixed, moving))


@torch.no_grad()
def full_velocity(network: Network, fixed: Tensor, moving: Tensor) -> Tensor:
    """Return the velocity field (B, 2, H, W) of images of any size (B, 1, H, W), found at NETWORK_SIDE pixels."""
    *_, velocity = fields_at(network, fixed, moving, NETWORK_SIDE, len(SCALES))
    return velocity


def _in_pixels_of(full: Sequence[int], field: Tensor) -> Tensor:
    """The field on the grid of the whole images, which has the same outer edges."""
    rows, columns = (after / before for after, before in zip(full, field.shape[2:], strict=True))
    dy, dx = resampled(field, full).unbind(dim=1)
    return torch.stack((dy * rows, dx * columns), dim=1)


def _enlarged(field: Tensor, factor: int) -> Tensor:
    """The field on a finer grid whose pixels are areas, in its pixels."""
    if factor == 1:
        return field
    return factor * F.interpolate(field, scale_factor=factor, mode="bilinear", align_corners=False)
