"""Which similarity suits a pair: `auto` looks at the images themselves.

Two images of one kind brighten and darken together nearly everywhere, or, where one is a negative, nowhere: the local
correlation has one sign. Between kinds, such as CT and MR, bone is bright in one and dark in the other, while other
borders keep their sign. So the sign's consistency tells the two apart: better where the images lie on each other, which
a network can see to that compares borders, whatever their sign; mostly also before.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses.similarity import box_sum
from regstudio.methods import Similarity

SIDE, WINDOW = 64, 9  # pixels: the shorter side at which a pair is looked at, and the window of the correlation
CONSISTENT = 0.75  # radiographs and skulls: 0.8 and more, with few exceptions; CT and MR: less, but hearts too
REGISTERED = 0.65  # of images that the general network registered: hearts 0.67 and more; CT and MR: mostly below 0.6
FEW_VALUES = 16  # so many grey values make areas without texture, as in a drawing or a mask


def choose_similarity(fixed: Tensor, moving: Tensor, consistent: float = CONSISTENT) -> list[Similarity]:
    """Choose for each pair of images (B, 1, H, W) of one size, values in [0, 1].

    "ncc" where the sign of the local correlation is `consistent`; else "mi" where either image has only a few grey
    values, whose areas hold nothing that MIND could describe; else "mind".
    """
    size = [max(8, round(length * SIDE / min(moving.shape[2:]))) for length in moving.shape[2:]]
    f, m = (F.interpolate(image, size, mode="area") for image in (fixed.expand_as(moving), moving))
    chosen: list[Similarity] = []
    for consistency, *pair in zip(sign_consistency(f, m).tolist(), fixed.expand_as(moving), moving, strict=True):
        if abs(consistency) >= consistent:
            chosen.append("ncc")
        else:
            chosen.append("mi" if min(len(image.unique()) for image in pair) <= FEW_VALUES else "mind")
    return chosen


def sign_consistency(fixed: Tensor, moving: Tensor) -> Tensor:
    """Mean local correlation over its mean size, weighted by the contrast of both: (B, 1, H, W) -> (B,), in [-1, 1]."""
    pixels = box_sum(torch.ones_like(fixed, dtype=torch.float64), WINDOW)

    def mean(image: Tensor) -> Tensor:
        return box_sum(image, WINDOW) / pixels

    f, m = fixed.double(), moving.double()
    covariance = mean(f * m) - mean(f) * mean(m)
    contrast = (((mean(f * f) - mean(f) ** 2) * (mean(m * m) - mean(m) ** 2)).clamp(min=0) + 1e-10).sqrt()
    weighted = covariance / contrast * contrast.sqrt()
    return weighted.sum(dim=(1, 2, 3)) / weighted.abs().sum(dim=(1, 2, 3)).clamp(min=1e-12)
