"""Which similarity suits a pair: `auto` looks at the images themselves.

Two images of one kind brighten and darken together nearly everywhere, or, where one is a negative, nowhere: the local
correlation has one sign, and what is brighter in one is brighter in the other. Between kinds, such as CT and MR, bone
is bright in one and dark in the other, while other borders keep their sign. Both are better seen where the images lie
on each other, which a network can see to that compares borders, whatever their sign; mostly also before.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses.scales import whole
from regstudio.methods import Similarity
from regstudio.networks.local_ncc import box_sum

SIDE, WINDOW = 64, 9  # pixels: the shorter side at which a pair is looked at, and the window of the correlation
CONSISTENT = 0.75  # radiographs and skulls: 0.8 and more, with few exceptions; CT and MR: less, but hearts too
REGISTERED = 0.6  # of images that the general network registered: hearts 0.63 and more; CT and MR: mostly less
CERTAIN = 0.9  # two stains of a section, whose grey values have no common order: 0.96; CT and MR: 0.85 at most
# Rank correlation of the grey values of registered images: hearts 0.24 and more, CT and MR at most 0.19.
SAME_ORDER = 0.2
DARK = 0.1  # grey value below which there is no tissue, whose order says something
FEW_VALUES = 16  # so many grey values make areas without texture, as in a drawing or a mask


def choose_similarity(
    fixed: Tensor, moving: Tensor, consistent: float = CONSISTENT, mask: Tensor | None = None
) -> list[Similarity]:
    """Choose for each pair of images (B, 1, H, W) of one size, values in [0, 1].

    "ncc" where the sign of the local correlation is `consistent` and the order of the grey values the same, or where
    that sign leaves no doubt; else "mi" where either image has only a few grey values, whose areas hold nothing that
    MIND could describe; else "mind". With a mask (B, 1, H, W), only pixels where it is 1 are looked at.
    """
    size = [max(8, round(length * SIDE / min(moving.shape[2:]))) for length in moving.shape[2:]]
    f, m = (F.interpolate(image, size, mode="area") for image in (fixed.expand_as(moving), moving))
    counted = torch.ones_like(m) if mask is None else whole(F.interpolate(mask, size, mode="area"))
    chosen: list[Similarity] = []
    for number, sign in enumerate(sign_consistency(f, m, counted).tolist()):
        images = fixed.expand_as(moving)[number], moving[number]
        if mask is not None:
            images = images[0][mask[number] > 0], images[1][mask[number] > 0]
        order = math.copysign(1, sign) * rank_correlation(*(image[number][counted[number] > 0] for image in (f, m)))
        if abs(sign) >= (consistent if order >= SAME_ORDER else CERTAIN):
            chosen.append("ncc")
        else:
            chosen.append("mi" if min(_values(image) for image in images) <= FEW_VALUES else "mind")
    return chosen


def similarity_as_registered(fixed: Tensor, warped: Tensor, mask: Tensor | None = None) -> Similarity:
    """Choose for one pair (1, 1, H, W) as a network registered it, where images of one kind are told far better."""
    (chosen,) = choose_similarity(fixed, warped, REGISTERED, mask)
    return chosen


def sign_consistency(fixed: Tensor, moving: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean local correlation over its mean size, weighted by the contrast of both: (B, 1, H, W) -> (B,), in [-1, 1]."""
    counted = torch.ones_like(moving, dtype=torch.float64) if mask is None else mask.double()
    pixels = box_sum(counted, WINDOW).clamp(min=1)

    def mean(image: Tensor) -> Tensor:
        return box_sum(image * counted, WINDOW) / pixels

    f, m = fixed.double(), moving.double()
    covariance = mean(f * m) - mean(f) * mean(m)
    contrast = (((mean(f * f) - mean(f) ** 2) * (mean(m * m) - mean(m) ** 2)).clamp(min=0) + 1e-10).sqrt()
    weighted = covariance / contrast * contrast.sqrt() * counted
    return weighted.sum(dim=(1, 2, 3)) / weighted.abs().sum(dim=(1, 2, 3)).clamp(min=1e-12)


def rank_correlation(fixed: Tensor, moving: Tensor) -> float:
    """Spearman's correlation of the grey values of two images where neither is dark, in [-1, 1].

    Where these places have but one value it is 1: nothing speaks against it.
    """
    from scipy.stats import spearmanr  # takes half a second, so import it only where it is needed

    f, m = (image.flatten().cpu().numpy() for image in (fixed, moving))
    tissue = (f > DARK) & (m > DARK)
    f, m = f[tissue], m[tissue]
    if f.size < 2 or not (np.ptp(f) and np.ptp(m)):
        return 1.0
    found: float = spearmanr(f, m).statistic
    return found


def _values(image: Tensor) -> int:
    return len(np.unique(image.cpu().numpy()))
