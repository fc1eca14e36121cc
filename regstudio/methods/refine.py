"""Refinement: optimise the predicted field of one pair by a few gradient steps."""

import torch
from torch import Tensor

from regstudio.losses import Objective
from regstudio.networks.base import RegistrationNetwork

STEP_SIZE = 0.25  # pixels that an Adam step changes the field by, roughly


def refine(
    model: RegistrationNetwork,
    objective: Objective,
    fixed: Tensor,
    moving: Tensor,
    field: Tensor,
    *,
    affine: Tensor | None = None,
    steps: int,
    step_size: float = STEP_SIZE,
) -> Tensor:
    """Optimise `field` (1, 2, H, W) by `steps` steps of Adam on `objective`; return the best field seen.

    Its loss is never above that of `field`. The images are (1, 1, H, W), `affine` is as in RegistrationNetwork.predict,
    `step_size` is the learning rate in pixels. The network's weights stay unchanged. Source: Balakrishnan et al., "An
    Unsupervised Learning Model for Deformable Medical Image Registration", CVPR 2018 (instance-specific optimisation).
    """
    refined = field.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([refined], lr=step_size)
    best, min_loss = field, torch.inf
    with torch.enable_grad():
        for step in range(steps + 1):
            prediction = model.follow(refined, moving, affine)
            loss = objective(fixed, prediction.warped, prediction.field, prediction.deformation)["loss"]
            if loss.item() < min_loss:
                best, min_loss = refined.detach().clone(), loss.item()
            if step < steps:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return best
