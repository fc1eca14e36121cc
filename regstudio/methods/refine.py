"""Refinement: descend from the field that a network predicted for a pair, coarse to fine.

`refine` descends on the network's own loss, for as many steps as it is told. `refine_nearby` does on the energy of the
pair optimiser, by a rule of its own, and holds on to what the network predicted.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.losses import Objective
from regstudio.methods.descent import Energy, Level, descend_levels, field_grid, working_sizes
from regstudio.methods.energy import PairEnergy, Weights, measure
from regstudio.methods.optimiser import settings_for
from regstudio.methods.similarity_choice import choose_similarity
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.warp import SpatialTransformer, integrate, resize_flow, seen_through

STEP_SIZE = 0.25  # pixels that an Adam step changes the field by, roughly
COARSEST = 24  # pixels of the shorter side
MAX_COARSER = 2  # sizes below the full one: at a half and a quarter, where a step costs little and reaches far

# `refine_nearby` holds on to the network's field by pull * log(1 + (distance / NEAR)^2), NEAR as a share of the shorter
# side. A network is a little wrong in most places and far off in a few: the pull is firm nearby, and gives way far off.
NEAR = 0.01
NEARBY_WEIGHTS = Weights(smoothness=1.0, deviation_smoothness=2.0)
# The most steps and the pull at each size of the images, coarse to fine. On the smallest a network that lost its way is
# led back.
NEARBY = ((25, 0.1), (20, 0.2), (10, 0.2))
NEARBY_OF_TWO_KINDS = ((15, 0.0),)


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
    """Optimise `field` (1, 2, H, W) by at most `steps` steps of Adam on `objective`; return the best field seen.

    Half of the steps are taken at full size, the others on smaller images before. The loss at full size is never above
    that of `field`. The images are (1, 1, H, W), `affine` is as in RegistrationNetwork.predict, `step_size` is the
    learning rate in pixels. The network's weights stay unchanged. Source: Balakrishnan et al., "An Unsupervised
    Learning Model for Deformable Medical Image Registration", CVPR 2018 (instance-specific optimisation).
    """
    field = field.detach()
    with torch.no_grad():
        seen = moving
        if affine is not None:
            seen = seen_through(affine, moving)
        sizes = working_sizes(moving.shape[2:], min(moving.shape[2:]), COARSEST)[-1 - MAX_COARSER :]
        shares = _shares(steps, len(sizes))
        levels = []
        for size, share in zip(sizes[:-1], shares[:-1], strict=True):
            small = (F.interpolate(image, size, mode="area") for image in (fixed, seen))
            levels.append(Level(energy=_energy(model, objective, *small), grid=size, steps=share))
        levels.append(Level(energy=_energy(model, objective, fixed, moving, affine), grid=sizes[-1], steps=shares[-1]))
        return descend_levels(levels, field, step_size=step_size, min_gain=0).field


@torch.no_grad()
def refine_nearby(fixed: Tensor, moving: Tensor, velocity: Tensor, *, affine: Tensor | None = None) -> Tensor:
    """Optimise the `velocity` (1, 2, H, W) of a network by the pair optimiser's energy, near to where it is.

    The energy at the finest size is never above that of `velocity`. The similarity is chosen by the images as they lie
    after the network, where those of one kind are told from others far better than before. Between two kinds a network
    can be worse than nothing: the start is then no deformation, where that has less energy. The images are
    (1, 1, H, W), `affine` is as in RegistrationNetwork.predict.
    """
    warp = SpatialTransformer("bilinear")
    if affine is not None:
        moving = seen_through(affine, moving)
    settings = settings_for(choose_similarity(fixed, warp(moving, integrate(velocity)))[0])
    sizes = working_sizes(moving.shape[2:], settings.finest, settings.coarsest)
    small = [[F.interpolate(image, size, mode="area") for image in (fixed, moving)] for size in sizes]
    grids = [field_grid(size) for size in sizes]
    compare, of_one_kind = measure(settings.similarity), settings.similarity == "ncc"
    start = velocity
    if not of_one_kind:
        plain = PairEnergy(*small[-1], measure=compare, weights=replace(settings.weights, deviation=0.0))
        nothing = torch.zeros_like(velocity)
        of_nothing, of_network = (plain(resize_flow(field, grids[-1])) for field in (nothing, velocity))
        start = velocity if of_network < of_nothing else nothing
    levels = []
    for number, (images, grid) in enumerate(zip(small, grids, strict=True)):
        near = resize_flow(start, grid)
        weights, plan = (NEARBY_WEIGHTS, NEARBY) if of_one_kind else (settings.weights, NEARBY_OF_TWO_KINDS)
        steps, pull = plan[max(number - len(sizes), -len(plan))]  # the last are for the finest size
        energy = PairEnergy(*images, measure=compare, weights=weights, expected=near)
        levels.append(Level(energy=_pulled(energy, near, pull) if pull else energy, grid=grid, steps=steps))
    return descend_levels(levels, start, step_size=settings.step_size, smoothing=settings.smoothing).field


def _pulled(energy: Energy, expected: Tensor, pull: float) -> Energy:
    """An energy with the pull of an expected field, which is of one grid with the others."""
    near = NEAR * min(expected.shape[2:])

    def pulled(field: Tensor) -> Tensor:
        distance = ((field - expected) / near).square().sum(dim=1)
        return energy(field) + pull * distance.log1p().mean(dim=(1, 2))

    return pulled


def _energy(
    model: RegistrationNetwork, objective: Objective, fixed: Tensor, moving: Tensor, affine: Tensor | None = None
) -> Energy:
    """The objective of one pair as an energy of its field."""

    def energy(field: Tensor) -> Tensor:
        made = model.follow(field, moving, affine)
        loss: Tensor = objective(fixed, made.warped, made.field, made.deformation)["loss"]
        return loss[None]

    return energy


def _shares(steps: int, sizes: int) -> list[int]:
    """The steps on each size: half on the last, the others in equal parts."""
    coarser = [steps // 2 // (sizes - 1)] * (sizes - 1) if sizes > 1 else []
    return [*coarser, steps - sum(coarser)]
