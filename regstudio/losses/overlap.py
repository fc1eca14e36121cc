"""Overlap of labels as a loss with a gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SoftDice(nn.Module):
    """One minus the Dice of soft labels: 0 for a perfect overlap, 1 for none.

    The Dice of a label is 2 sum(fixed * warped) / (sum(fixed) + sum(warped)). The loss is the mean over the scored
    labels, those in both the fixed and the original moving image; without any it is 0. Computed in float32.
    Source: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, equation 3 without the squares.
    """

    def forward(self, fixed: Tensor, warped: Tensor, scored: Tensor) -> Tensor:
        """Compare `fixed` (B or 1, L, H, W) with `warped` (B, L, H, W), values in [0, 1]; `scored` is (B, L), bool."""
        fixed, warped = fixed.float(), warped.float()
        shared = (fixed * warped).sum(dim=(2, 3))
        # The clamp keeps labels that are not scored finite; it does not change the others.
        sizes = (fixed.sum(dim=(2, 3)) + warped.sum(dim=(2, 3))).clamp(min=1)
        losses = torch.where(scored, 1 - 2 * shared / sizes, 0)
        return losses.sum() / scored.sum().clamp(min=1)


def one_hot(label: Tensor, ids: Sequence[int]) -> Tensor:
    """Return a mask of 0 and 1 for each id: integers (B, 1, H, W) -> float32 (B, len(ids), H, W)."""
    return torch.cat([label == one for one in ids], dim=1).float()


def scored_labels(fixed: Tensor, moving: Tensor) -> Tensor:
    """Return which labels are in both images: one-hot (B or 1, L, H, W) and (B, L, H, W) -> (B, L), bool."""
    return fixed.any(dim=3).any(dim=2) & moving.any(dim=3).any(dim=2)
