"""Masks of a pair, as methods take them: where the fixed and where the moving image counts."""

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from regstudio.data.pairs.pair import Pair
from regstudio.losses import whole
from regstudio.losses.masked import common_mask

Array = npt.NDArray[Any]
Masks = tuple[Tensor | None, Tensor | None]  # of the fixed and the moving image, each (1, 1, H, W), 1 where it counts
MaskArrays = tuple[Array | None, Array | None]  # each (H, W)
NO_MASKS: Masks = (None, None)


def mask_arrays(pair: Pair) -> MaskArrays:
    """Return the masks of a pair; None where all of an image counts."""
    return pair.fixed_mask, pair.moving_mask


def as_tensors(masks: MaskArrays, device: torch.device | str = "cpu") -> Masks:
    """Return masks as tensors."""
    fixed, moving = (None if mask is None else torch.from_numpy(mask)[None, None].to(device) for mask in masks)
    return fixed, moving


def counted(masks: Masks, flow: Tensor | None) -> Tensor | None:
    """Return where both images count under a flow (1, 2, H, W), or none at all: (1, 1, H, W); None everywhere."""
    fixed, moving = masks
    if moving is None:
        return fixed
    fixed = torch.ones_like(moving) if fixed is None else fixed
    return whole(fixed) * whole(moving) if flow is None else common_mask(fixed, moving, flow)
