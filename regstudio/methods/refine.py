"""Refining what a network predicts for one pair, by a few steps of optimising the field itself."""

import torch
from torch import Tensor

from regstudio.losses import Objective
from regstudio.networks.base import RegistrationNetwork

STEP_SIZE = 0.25  # pixels that a step moves a pixel of the field, about


def refine(
    model: RegistrationNetwork,
    objective: Objective,
    fixed: Tensor,
    moving: Tensor,
    field: Tensor,
    *,
    affine: Tensor | None = None,
    steps: int,
) -> Tensor:
    """Return a field (1, 2, H, W) for which `objective` is not above that for `field`, after `steps` steps of Adam.

    The images are (1, 1, H, W); `affine` is that of RegistrationNetwork.predict. The network's weights stay as they
    are. Source: Balakrishnan et al., "An Unsupervised Learning Model for Deformable Medical Image Registration",
    CVPR 2018, where a network's prediction is the start of an instance's own optimisation.
    """
    refined = field.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([refined], lr=STEP_SIZE)
    best, least = field, torch.inf
    with torch.enable_grad():
        for step in range(steps + 1):
            prediction = model.follow(refined, moving, affine)
            loss = objective(fixed, prediction.warped, prediction.field, prediction.deformation)["loss"]
            if loss.item() < least:
                best, least = refined.detach().clone(), loss.item()
            if step < steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return best
