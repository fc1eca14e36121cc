"""Warping with a dense flow, and changing a flow's resolution.

The conventions everything rests on:

- A flow has shape (B, 2, H, W), in pixels: channel 0 is dy (rows, down), channel 1 is dx (columns, right).
- It is a pull-back on the fixed grid: warped(p) = moving(p + flow(p)). Zero flow returns the moving image unchanged.
- grid_sample runs with align_corners=True, so pixel index i lies at 2 * i / (size - 1) - 1; it wants (x, y) where
  flows are (y, x), and `SpatialTransformer` is the one place where that order is reversed.
- What lies outside the moving image is 0.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        height, width = moving.shape[2:]
        rows = torch.arange(flow.shape[2], device=flow.device, dtype=flow.dtype)
        columns = torch.arange(flow.shape[3], device=flow.device, dtype=flow.dtype)
        y = (rows[:, None] + flow[:, 0]) * (2 / (height - 1)) - 1
        x = (columns + flow[:, 1]) * (2 / (width - 1)) - 1
        grid = torch.stack((x, y), dim=-1)
        return F.grid_sample(moving, grid, self.mode, padding_mode="zeros", align_corners=True)


def upsample_flow(flow: Tensor) -> Tensor:
    """Return the same flow on a grid of twice the height and width: (B, 2, H, W) -> (B, 2, 2H, 2W), in its pixels."""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
