"""Similarities that count pixels by a mask alone: what lies outside it changes neither value nor gradient.

Images are (B, C, H, W), masks (B, 1, H, W) of 0 and 1; each function returns one value for each pair, (B,). Where a
mask is empty, nothing is alike.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from regstudio.losses.mind import MIND
from regstudio.losses.scales import AtScales, whole
from regstudio.losses.similarity import MutualInformation, entropy
from regstudio.networks import ops
from regstudio.networks.local_ncc import EPSILON, box_sum, squared_ncc

Masked = Callable[[Tensor, Tensor, Tensor], Tensor]


def common_mask(fixed: Tensor, moving: Tensor, flow: Tensor) -> Tensor:
    """Return where the masks of both images count under a flow (B, 2, H, W): (B, 1, H, W) of 0 and 1."""
    return whole(ops.warp(moving, flow, "bilinear", "border")) * whole(fixed)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of values (B, C, H, W) over the pixels of a mask; 0 where it is empty."""
    counted = (values * mask).sum(dim=(1, 2, 3))
    return counted / (mask.sum(dim=(1, 2, 3)) * values.shape[1]).clamp(min=1)


def masked_ncc(fixed: Tensor, warped: Tensor, mask: Tensor, win: int = 9) -> Tensor:
    """Return the mean squared NCC of the windows around all pixels of the mask, each over its own such pixels."""
    f, w = fixed * mask, warped * mask
    pixels = box_sum(mask, win).clamp(min=1)
    sum_f, sum_w, sum_ff, sum_ww, sum_fw = box_sum(torch.stack((f, w, f * f, w * w, f * w)), win).unbind()
    return masked_mean(squared_ncc(sum_f, sum_w, sum_ff, sum_ww, sum_fw, pixels), mask)


def masked_global_ncc(fixed: Tensor, warped: Tensor, mask: Tensor) -> Tensor:
    """Return Pearson's correlation of the grey values within the mask, in [-1, 1]."""
    f, w = (image - masked_mean(image, mask)[:, None, None, None] for image in (fixed, warped))
    scale = (masked_mean(f * f, mask) * masked_mean(w * w, mask) + EPSILON**2).sqrt()
    return masked_mean(f * w, mask) / scale


def masked_information(fixed: Tensor, warped: Tensor, mask: Tensor, bins: int = 32) -> Tensor:
    """Return the mutual information of the grey values within the mask, in nats, as `MutualInformation` has it."""
    windows = MutualInformation(bins)
    f, w = windows.parzen_weights(fixed), windows.parzen_weights(warped)
    counted = mask.flatten(1).float()
    joint = (f * counted[:, :, None]).transpose(1, 2) @ w / counted.sum(dim=1).clamp(min=1)[:, None, None]
    return entropy(joint.sum(dim=2)) + entropy(joint.sum(dim=1)) - entropy(joint.flatten(1))


def masked_losses(ncc_win: int, ncc_scales: int) -> dict[str, Masked]:
    """Return the losses of regstudio.losses.objective.SIMILARITIES within a mask, by name: smaller is more alike."""
    mind = MIND()
    return {
        "ncc": AtScales(
            lambda fixed, warped, mask: -masked_ncc(fixed.double(), warped.double(), mask.double(), ncc_win).float(),
            ncc_scales,
        ),
        "global_ncc": lambda fixed, warped, mask: -masked_global_ncc(fixed.float(), warped.float(), mask),
        "mse": lambda fixed, warped, mask: masked_mean((fixed.float() - warped.float()).square(), mask),
        "mi": lambda fixed, warped, mask: -masked_information(fixed, warped, mask),
        "mind": lambda fixed, warped, mask: masked_mean((mind.describe(fixed) - mind.describe(warped)).abs(), mask),
    }
