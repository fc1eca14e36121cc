"""A look at a few pairs before the first step: do they lie askew, and are they two images of one kind?"""

from collections.abc import Callable
from statistics import fmean

import torch
from torch import Tensor

from regstudio.data.pairs.dataset import load_validation_pair
from regstudio.methods.general_network import general_network, look
from regstudio.methods.similarity_choice import similarity_as_registered
from regstudio.networks.warp import affine_after
from regstudio.runs.events import PairsExamined
from regstudio.training.setup import Parts

PAIRS = 4  # evenly spaced: a third of a second each


def examine(parts: Parts, stop_requested: Callable[[], bool]) -> PairsExamined | None:
    """Register a few pairs by the general network, and return what that says of the images.

    None where RegStudio brings no network along, or when a stop is requested.
    """
    network = general_network(parts.device)
    cases = parts.validation or parts.training
    every = max(1, len(cases) // PAIRS)
    shifts: list[float] = []
    other_kinds = 0
    for case in cases[::every][:PAIRS]:
        if network is None or stop_requested():
            return None
        pair = load_validation_pair(case, case.fixed or parts.reference, parts.image_loader)
        fixed, moving = (pair[name][None].to(parts.device) for name in ("fixed_image", "moving_image"))
        seen = look(network, fixed, moving)
        if similarity_as_registered(fixed, seen.warped) == "ncc":
            shifts.append(_displacement(seen.affine, moving))
        else:
            other_kinds += 1
    return PairsExamined(
        pairs=len(shifts) + other_kinds, other_kinds=other_kinds, shift=fmean(shifts) if shifts else 0.0
    )


def _displacement(affine: Tensor, image: Tensor) -> float:
    """Return the mean length of an affine map's displacement (1, 2, 3) as a share of the image's shorter side."""
    flow = affine_after(affine, torch.zeros_like(image).expand(-1, 2, -1, -1))
    return float(flow.norm(dim=1).mean()) / min(image.shape[2:])
