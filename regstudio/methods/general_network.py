"""The network of velocity fields for any images that RegStudio brings along, and what it makes of a pair."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from regstudio.errors import CheckpointError
from regstudio.methods.initial_affine import initial_affine, plainly_alike
from regstudio.methods.masks import NO_MASKS, Masks, counted
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.checkpoint import general_path, load_checkpoint
from regstudio.networks.passes import full_velocity
from regstudio.networks.replay import replayed_with
from regstudio.networks.warp import affine_after, integrate, seen_through


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """How a network registers a pair: the `affine` map (1, 2, 3) that comes after its `velocity` field (1, 2, H, W).

    `warped` (1, 1, H, W) is the moving image so registered; `counted` (1, 1, H, W) says where it and the fixed one
    count, None everywhere. `alike` says whether the network alone, one way, leaves the images plainly alike.
    """

    affine: Tensor
    velocity: Tensor
    warped: Tensor
    alike: bool
    counted: Tensor | None = None


@torch.no_grad()
def look(
    network: RegistrationNetwork,
    fixed: Tensor,
    moving: Tensor,
    affine: Tensor | None = None,
    *,
    wide: bool = False,
    masks: Masks = NO_MASKS,
) -> Look:
    """Register two images (1, 1, H, W) of one size, from an affine map (1, 2, 3) or that of `initial_affine`.

    `masks` say where they count. Where that does not leave them plainly alike, the pair is registered the other way
    round, too: one field should lead there and back, and the mean of both is nearer to it.
    """
    affine = initial_affine(network, fixed, moving, wide=wide, masks=masks) if affine is None else affine
    seen = seen_through(affine, moving)
    velocity = _velocity(network, fixed, seen)
    of = None if masks[1] is None else seen_through(affine, masks[1])
    alike = plainly_alike(fixed, seen, velocity, (masks[0], of))
    if not alike:
        velocity = (velocity - _velocity(network, seen, fixed)) / 2
    flow = integrate(velocity)
    return Look(
        affine=affine,
        velocity=velocity,
        warped=network.warp(seen, flow),
        alike=alike,
        counted=counted(masks, affine_after(affine, flow)),
    )


def _velocity(network: RegistrationNetwork, fixed: Tensor, moving: Tensor) -> Tensor:
    (velocity,) = replayed_with(network, _full_velocity).copied(None, {"fixed": fixed, "moving": moving})
    return velocity


def _full_velocity(network: RegistrationNetwork, _: None, images: Mapping[str, Tensor]) -> tuple[Tensor]:
    return (full_velocity(network, **images),)


def general_network(device: torch.device | str = "cpu") -> RegistrationNetwork | None:
    """Return the network that RegStudio brings along, loaded once; None where its weights are not there."""
    path = general_path()
    return _loaded(path, path.stat().st_mtime_ns, str(device)) if path.is_file() else None


@lru_cache(maxsize=2)
def _loaded(path: Path, changed: int, device: str) -> RegistrationNetwork:  # another file is loaded anew
    return velocity_network(path).to(device)


def velocity_network(weights: Path) -> RegistrationNetwork:
    """Load a network of velocity fields, frozen, onto the CPU; raises CheckpointError where the file holds none."""
    model = load_checkpoint(weights).model(str(weights))
    if model.transform != "svf":
        raise CheckpointError(f"{weights}: predicts no velocity field. Name a network with the transform svf.")
    return model.eval().requires_grad_(False)
