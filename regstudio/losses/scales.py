"""Similarity at several scales at once: of the images, and of the same images half, a quarter, an eighth as large."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_SIDE = 16  # pixels of the smallest scale
WHOLE = 1 - 1e-5  # a pixel whose mask was resampled to less is in part outside; more is rounding


class AtScales(nn.Module):
    """Mean of one similarity over `scales` scales, each half the size of the one before.

    A window that stays as large in pixels sees twice as far at each scale: fine detail and whole organs count alike.
    Scales at which the shorter side is below `min_side` pixels are left out, but never the first. The similarity may
    give one value or, as (B,), one of each pair; so does this. Raises ValueError for less than one scale.

    >>> loss = AtScales(NCC(9), 3)  # windows of 9, 18 and 36 pixels
    """

    def __init__(self, similarity: Callable[..., Tensor], scales: int, min_side: int = MIN_SIDE) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is a number of at least 1; got {scales}")
        self.similarity, self.scales, self.min_side = similarity, scales, min_side

    def forward(self, fixed: Tensor, warped: Tensor, *mask: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, C, H, W) with `warped` (B, C, H, W); return what the similarity does.

        A `mask` (B, 1, H, W) goes to the similarity, too; a coarse pixel counts where all of its pixels do.
        """
        values = [self.similarity(fixed, warped, *mask)]
        while len(values) < self.scales and min(warped.shape[2:]) >= 2 * self.min_side:
            fixed, warped = F.avg_pool2d(fixed, 2), F.avg_pool2d(warped, 2)
            mask = tuple(whole(F.avg_pool2d(each, 2)) for each in mask)
            values.append(self.similarity(fixed, warped, *mask))
        return torch.stack(values).mean(dim=0)


def whole(mask: Tensor) -> Tensor:
    """Return 1 where a resampled mask has all of its weight, 0 elsewhere."""
    return (mask >= WHOLE).to(mask.dtype)
