"""Quality of a registration without the moving image's labels: which results to look at first.

Each place is asked where it would still go: the patch around a pixel of the fixed image is compared with those around
the same pixel of the warped image and around its neighbours. The distance of the best match, as a share of the farthest
one looked at, is how wrong the place is; 1 where the flow folds. The patches are compared by MIND descriptors, which
take images of two kinds and which few methods are driven by. The mean over the image, more where the fixed image has
contrast, and the error of the inverse flow in the same unit are the doubt. Where the fixed image has a label, only the
surroundings of its outlines are asked: it says what the registration is for.

    quality = 1 / (1 + doubt / TYPICAL)

This measure was chosen among 120 (residual correlation, mutual information, Jacobians, size and roughness of the flow,
disagreement with other registrations) by its rank correlation with Dice or the landmarks' error within each of four
sets of images. No second one that was added to it, with a weight fitted to three sets, ranked the fourth any better.
"""

from itertools import product
from math import ceil, hypot
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses.mind import mind_descriptors
from regstudio.metrics import inverse_consistency, jacobian_determinant
from regstudio.networks.local_ncc import box_sum

Array = npt.NDArray[Any]

# Two searches, in pixels: the images' shorter side, how far is looked along rows and columns, and the patches' side.
SEARCHES = ((128, 3, 17), (64, 2, 9))
CONTRAST_WINDOW = 9
OUTLINE_REACH = 3 / 128  # how far from a label's outline is asked, as a share of the shorter side
TYPICAL = 0.35  # the median over radiographs, skulls, hearts and brains, registered in two ways, of their median doubts


def quality(
    fixed: Array,
    warped: Array,
    flow: Array,
    inverse: Array | None = None,
    *,
    mask: Array | None = None,
    label: Array | None = None,
    mirrored: bool = False,
) -> float:
    """Return how far a registration is to be trusted, in [0, 1]: 1 if nothing is left to find, about 0.5 is usual.

    It ranks results of one kind of images; those of another, with finer texture, may all have less. `fixed` and
    `warped` are (H, W) in [0, 1], `flow` and its `inverse` (2, H, W) in pixels. A flow that is not finite has 0. With a
    `mask` (H, W), only pixels where it is 1 are compared, and only their places doubted; without any it is 0, too. With
    the fixed image's `label` (H, W), so are only those near its outlines, if it has any that the mask leaves. A
    `mirrored` flow folds where it does not turn the image over.
    """
    if not np.isfinite(flow).all() or (mask is not None and not mask.any()):
        return 0.0
    folded = jacobian_determinant(flow) * (-1 if mirrored else 1) <= 0
    counted = np.ones_like(fixed) if mask is None else mask
    outlines = np.zeros_like(fixed) if label is None else _outlines(label) * counted
    with torch.no_grad():
        arrays = np.stack((fixed, warped, folded, counted, outlines))
        images = torch.from_numpy(arrays.astype(np.float32))[:, None, None]
        doubt = fmean(_doubt(images, side, reach, window) for side, reach, window in SEARCHES)
    if inverse is not None:
        side, reach, _ = SEARCHES[0]
        error = inverse_consistency(flow, inverse) / min(flow.shape[1:]) * side / reach
        doubt += min(1.0, float(np.nan_to_num(error, nan=1.0)))
    return 1 / (1 + doubt / TYPICAL)


def _outlines(label: Array) -> npt.NDArray[np.float32]:
    """1 at the pixels that have a neighbour of another id, else 0: (H, W)."""
    there = np.zeros(label.shape, np.float32)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = label[one] != label[other]
        there[one][differs] = there[other][differs] = 1
    return there


def _doubt(images: Tensor, side: int, reach: int, window: int) -> float:
    """Mean distance of the best matches over `reach`, 1 in folds.

    The images (5, 1, 1, H, W) are fixed, warped, folded, mask and outlines.
    """
    full = images.shape[3:]
    size = [round(length / max(1.0, min(full) / side)) for length in full]
    fixed, warped, folded, mask = (F.interpolate(image, size, mode="area") for image in images[:4])
    if images[4].any():
        near = ceil(OUTLINE_REACH * min(size))
        mask = mask * F.max_pool2d(F.adaptive_max_pool2d(images[4], size), 2 * near + 1, stride=1, padding=near)
    distance = _best_match(fixed, warped, mask, reach, window) / reach
    weight = (_contrast(fixed).sqrt() + 1e-6) * mask  # an image without contrast counts alike everywhere
    doubt = (weight * torch.lerp(distance, torch.ones_like(distance), folded)).sum() / weight.sum().clamp(min=1e-9)
    return float(doubt)


def _best_match(fixed: Tensor, warped: Tensor, mask: Tensor, reach: int, window: int) -> Tensor:
    """Distance in pixels from each pixel of `fixed` to its best match in `warped`: (1, 1, H, W)."""
    height, width = fixed.shape[2:]
    f, w = (mind_descriptors(image, dilation=1) for image in (fixed, warped))
    w = F.pad(w, (reach, reach, reach, reach), mode="replicate")
    # Nearest first, which wins where several match alike.
    offsets = sorted(product(range(-reach, reach + 1), repeat=2), key=lambda offset: hypot(*offset))
    differences = [
        (f - w[:, :, reach + dy : reach + dy + height, reach + dx : reach + dx + width]).abs().mean(dim=1)
        for dy, dx in offsets
    ]
    best = box_sum(torch.stack(differences, dim=1) * mask, window).argmin(dim=1, keepdim=True)
    return torch.tensor([hypot(*offset) for offset in offsets])[best]


def _contrast(image: Tensor) -> Tensor:
    """Standard deviation of the window around each pixel: (1, 1, H, W)."""
    pixels = box_sum(torch.ones_like(image), CONTRAST_WINDOW)
    mean, square = (box_sum(power, CONTRAST_WINDOW) / pixels for power in (image, image.square()))
    return (square - mean.square()).clamp(min=0).sqrt()
