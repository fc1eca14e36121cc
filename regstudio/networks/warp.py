"""Warping with a dense flow, and what is done to flows: resizing, integrating, composing.

The conventions everything rests on:

- A flow has shape (B, 2, H, W), in pixels: channel 0 is dy (rows, down), channel 1 is dx (columns, right).
- It is a pull-back on the fixed grid: warped(p) = moving(p + flow(p)). Zero flow returns the moving image unchanged.
- grid_sample runs with align_corners=True, so pixel index i lies at 2 * i / (size - 1) - 1; it wants (x, y) where
  flows are (y, x), and `ops.warp` is the one place where that order is reversed.
- What lies outside the moving image is 0.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regstudio.networks import ops

ARRIVED = 0.05  # pixels


class SpatialTransformer(nn.Module):
    """Warp an image or label with a flow.

    `mode` is "bilinear" for images and features, "nearest" for labels (ids stay ids).
    """

    def __init__(self, mode: Literal["bilinear", "nearest"] = "bilinear") -> None:
        super().__init__()
        if mode not in ("bilinear", "nearest"):
            raise ValueError(f"mode is {mode!r}; it must be 'bilinear' or 'nearest'")
        self.mode = mode

    def forward(self, moving: Tensor, flow: Tensor) -> Tensor:
        """Return moving(p + flow(p)): (B, C, H, W), `moving` (B, C, H, W) floating, `flow` (B, 2, H, W) in pixels."""
        return ops.warp(moving, flow, self.mode, "zeros")


def upsample_flow(flow: Tensor) -> Tensor:
    """Return the same flow on a grid of twice the height and width: (B, 2, H, W) -> (B, 2, 2H, 2W), in its pixels."""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)


def resize_flow(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Return the same flow on a grid of `size` (h, w) with the same outer edges: (B, 2, h, w), in its pixels."""
    before = flow.shape[2:]
    if tuple(size) == tuple(before):
        return flow
    mode = "area" if size[0] < before[0] else "bilinear"
    resized = F.interpolate(flow, tuple(size), mode=mode, align_corners=None if mode == "area" else False)
    ratio = [after / length for after, length in zip(size, before, strict=True)]
    return resized * numbers(ratio, flow)[:, None, None]


def numbers(values: Sequence[float], like: Tensor) -> Tensor:
    """Return numbers as a tensor (n,) like another; made where that lies, since a GPU would wait for a copy of them."""
    return torch.stack([like.new_full((), value) for value in values])


def resampled(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return images or channels (B, C, H, W) on a grid of `size` (h, w) with the same outer edges: (B, C, h, w).

    Along each side, means of the pixels that a larger one overlaps, or linear interpolation between those of a smaller
    one: what F.interpolate does with "area" and "bilinear". As matrices, it can be exported to ONNX for any size.
    """
    height, width = maps.shape[2:]
    if (height, width) == tuple(size):
        return maps
    rows, columns = (_resampling(before, after, maps) for before, after in ((height, size[0]), (width, size[1])))
    return rows @ maps @ columns.T


def _resampling(before: int, after: int, like: Tensor) -> Tensor:
    """The matrix (after, before) that resamples one side."""
    new, old = (torch.arange(length, device=like.device)[:, None] for length in (after, before))
    first, end = new * before // after, ((new + 1) * before + after - 1) // after
    means = ((first <= old.T) & (end > old.T)).to(like.dtype) / (end - first)
    centres = ((new.to(like.dtype) + 0.5) * (before / after) - 0.5).clamp(min=0)
    linear = (1 - (torch.minimum(centres, old[-1:].to(like.dtype)) - old.T).abs()).clamp(min=0)
    return torch.where(new[-1:] < old[-1:], means, linear)


def integrate(velocity: Tensor, steps: int = 7) -> Tensor:
    """Return the flow of a stationary velocity field after unit time, by scaling and squaring: (B, 2, H, W), pixels.

    The velocity is divided by 2^steps, and the small flow composed with itself `steps` times. That of -velocity is the
    inverse flow. Source: Arsigny et al., "A Log-Euclidean Framework for Statistics on Diffeomorphisms", MICCAI 2006.
    """
    return ops.integrate(velocity, steps)


def affine_after(matrix: Tensor, flow: Tensor) -> Tensor:
    """Return the flow p -> A(p + flow(p)) - p: first `flow`, then the affine map (y, x) -> `matrix` (y, x, 1).

    `matrix` (B, 2, 3) and `flow` (B, 2, H, W), in pixels. With zero flow it is the affine map's own flow.
    """
    grid = pixel_grid(flow)
    moved = torch.einsum("bij,bjhw->bihw", matrix[:, :, :2], grid + flow)
    return moved + matrix[:, :, 2, None, None] - grid


def seen_through(affine: Tensor, moving: Tensor) -> Tensor:
    """Return the moving images (B or 1, 1, H, W) through affine maps (B, 2, 3), on the fixed grid: (B, 1, H, W)."""
    flow = affine_after(affine, moving.new_zeros(len(affine), 2, *moving.shape[2:]))
    seen: Tensor = SpatialTransformer("bilinear")(moving.expand(len(affine), -1, -1, -1), flow)
    return seen


def inverse_2x2(matrices: Tensor) -> Tensor:
    """Return the inverses of matrices (..., 2, 2); not finite where there is none, which a GPU need not be asked."""
    (a, b), (c, d) = ((row[..., 0], row[..., 1]) for row in (matrices[..., 0, :], matrices[..., 1, :]))
    adjugate = torch.stack((torch.stack((d, -b), dim=-1), torch.stack((-c, a), dim=-1)), dim=-2)
    return adjugate / (a * d - b * c)[..., None, None]


def inverse_affine_after(matrix: Tensor, inverse: Tensor) -> Tensor:
    """Return the inverse of `affine_after(matrix, flow)`, given the inverse of `flow`, in the same shapes."""
    linear = inverse_2x2(matrix[:, :, :2])
    grid = pixel_grid(inverse)
    moved = torch.einsum("bij,bjhw->bihw", linear, grid - matrix[:, :, 2, None, None])
    return moved - grid + _at(inverse, moved - grid)


def at_places(maps: Tensor, places: Tensor) -> Tensor:
    """Return maps (B, C, H, W) at places (B, n, 2), y and x in pixels, linear in between: (B, n, C).

    Beyond the border they go on as they are there.
    """
    numbers = torch.arange(places.shape[1], device=places.device, dtype=places.dtype)
    from_row = places - torch.stack((torch.zeros_like(numbers), numbers), dim=1)  # as displacements of a row of pixels
    return ops.warp(maps, from_row.transpose(1, 2)[:, :, None], "bilinear", "border")[:, :, 0].transpose(1, 2)


def inverse_places(flow: Tensor, places: Tensor, steps: int = 8) -> Tensor:
    """Return the points p (B, n, 2) that a flow (B, 2, H, W) takes to `places`: p + flow(p), by Newton's method.

    Where there is none, as beyond a fold or the border, it is NaN, as are places that are NaN.
    """
    slopes = torch.stack(torch.gradient(flow, dim=(2, 3)), dim=2)  # (B, which component, along which axis, H, W)
    identity = torch.eye(2, device=flow.device, dtype=flow.dtype)
    wanted = places.nan_to_num(0.0)
    points = wanted
    for _ in range(steps):
        jacobian = at_places(slopes.flatten(1, 2), points).reshape(*points.shape, 2) + identity
        missed = points + at_places(flow, points) - wanted
        points = points - (inverse_2x2(jacobian) @ missed[..., None])[..., 0]
    distance = (points + at_places(flow, points) - places).norm(dim=2, keepdim=True)
    return points.where(distance < ARRIVED, torch.nan)


def pixel_grid(flow: Tensor) -> Tensor:
    """Return the pixels' own coordinates, (2, H, W), rows first, in the type and on the device of a flow."""
    sides = (torch.arange(side, device=flow.device, dtype=flow.dtype) for side in flow.shape[2:])
    return torch.stack(torch.meshgrid(*sides, indexing="ij"))


def _at(flow: Tensor, displacement: Tensor) -> Tensor:
    """Return flow(p + displacement(p)); beyond the border a flow goes on as it is there."""
    return ops.warp(flow, displacement, "bilinear", "border")
