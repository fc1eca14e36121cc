"""Refinement: descend from the field that a network predicted for a pair, coarse to fine.

`refine` descends on the network's own loss, for as many steps as it is told. `refine_nearby` does on the energy of the
pair optimiser, and holds on to what the network predicted.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses import Objective
from regstudio.methods.descent import Energy, Level, descend_levels, level_sizes
from regstudio.methods.initial_affine import plainly_alike
from regstudio.methods.masks import NO_MASKS, Masks, counted
from regstudio.methods.optimiser import BETWEEN_KINDS, optimise, settings_for
from regstudio.methods.similarity_choice import similarity_as_registered
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.warp import SpatialTransformer, integrate, seen_through

STEP_SIZE = 0.25  # pixels that an Adam step changes the field by, roughly
COARSEST = 24  # pixels of the shorter side
MAX_COARSER = 2  # sizes below the full one: at a half and a quarter, where a step costs little and reaches far


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
    masks: Masks = NO_MASKS,
) -> Tensor:
    """Optimise `field` (1, 2, H, W) by at most `steps` steps of Adam on `objective`; return the best field seen.

    Half of the steps are taken at full size, the others on smaller images before. The loss at full size is never above
    that of `field`. The images are (1, 1, H, W), `affine` is as in RegistrationNetwork.predict, `step_size` is the
    learning rate in pixels, `masks` say where the images count. The network's weights stay unchanged. Source:
    Balakrishnan et al., "An Unsupervised Learning Model for Deformable Medical Image Registration", CVPR 2018
    (instance-specific optimisation).
    """
    field = field.detach()
    with torch.no_grad():
        seen, of = moving, masks[1]
        if affine is not None:
            seen, of = seen_through(affine, moving), None if of is None else seen_through(affine, of)
        sizes = level_sizes(moving.shape[2:], min(moving.shape[2:]), COARSEST)[-1 - MAX_COARSER :]
        shares = _shares(steps, len(sizes))
        levels = []
        for size, share in zip(sizes[:-1], shares[:-1], strict=True):
            still, other = (F.interpolate(image, size, mode="area") for image in (fixed, seen))
            on, through = (None if m is None else F.interpolate(m, size, mode="area") for m in (masks[0], of))
            energy = _energy(model, objective, still, other, None, (on, through))
            levels.append(Level(energy=energy, grid=size, steps=share))
        finest = _energy(model, objective, fixed, moving, affine, masks)
        levels.append(Level(energy=finest, grid=sizes[-1], steps=shares[-1]))
        return descend_levels(levels, field, step_size=step_size, min_gain=0).field


@torch.no_grad()
def refine_nearby(
    fixed: Tensor, moving: Tensor, velocity: Tensor, *, affine: Tensor | None = None, masks: Masks = NO_MASKS
) -> Tensor:
    """Optimise the `velocity` (1, 2, H, W) of a network by the pair optimiser's energy, near to where it is.

    The energy at the finest size is never above that of `velocity`. The similarity is chosen by the images as they lie
    after the network, where those of one kind are told from others far better than before. Between two kinds a network
    can be worse than nothing: the start is then no deformation, where that has less energy. The images are
    (1, 1, H, W), `affine` is as in RegistrationNetwork.predict, `masks` say where the images count.
    """
    on, of = masks
    if affine is not None:
        moving, of = seen_through(affine, moving), None if of is None else seen_through(affine, of)
    flow = integrate(velocity)
    warped = SpatialTransformer("bilinear")(moving, flow)
    similarity = similarity_as_registered(fixed, warped, counted((on, of), flow))
    settings = settings_for(similarity, expected=True, alike=plainly_alike(fixed, moving, velocity, (on, of)))
    descend = partial(optimise, fixed, moving, fixed_mask=on, moving_mask=of)
    if settings.similarity in BETWEEN_KINDS:
        plain = replace(settings, weights=replace(settings.weights, deviation=0.0), steps=(0,))
        of_nothing, of_network = (
            descend(settings=plain, velocity=start).energy for start in (torch.zeros_like(velocity), velocity)
        )
        velocity = velocity if of_network < of_nothing else torch.zeros_like(velocity)
    return descend(settings=settings, velocity=velocity).velocity


def _energy(
    model: RegistrationNetwork,
    objective: Objective,
    fixed: Tensor,
    moving: Tensor,
    affine: Tensor | None,
    masks: Masks,
) -> Energy:
    """The objective of one pair as an energy of its field."""

    def energy(field: Tensor) -> Tensor:
        made = model.follow(field, moving, affine)
        with torch.no_grad():
            mask = counted(masks, made.flow)
        loss: Tensor = objective(fixed, made.warped, made.field, made.deformation, mask=mask)["loss"]
        return loss[None]

    return energy


def _shares(steps: int, sizes: int) -> list[int]:
    """The steps on each size: half on the last, the others in equal parts."""
    coarser = [steps // 2 // (sizes - 1)] * (sizes - 1) if sizes > 1 else []
    return [*coarser, steps - sum(coarser)]
