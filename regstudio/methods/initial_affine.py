"""The affine map that a registration starts from, judged by the deformable result that it leads to.

The best affine map is not the one that makes the images most similar: on hearts of two patients that one aligns the
chest, and leaves the hearts where no network finds them. So a network of velocity fields registers the pair as it lies
on images of 32 pixels or, where that does not make it clearly alike, also turned a little to either side, and from the
best of these on 64 pixels. Where that leaves it plainly alike, the affine part of the result is the map. Elsewhere it
registers the pair from many starts at once, on 32 pixels; what it finds from the best of these, as affine maps, is
judged again on 64 pixels, beside the identity; and the affine part of the best result is the map.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.methods.energy import PairEnergy, Weights, measure
from regstudio.methods.masks import NO_MASKS, Masks
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.passes import SCALES as PASSES
from regstudio.networks.passes import coarse_to_fine, network_size
from regstudio.networks.replay import replayed_with
from regstudio.networks.warp import affine_after, integrate, numbers, pixel_grid, resize_flow, seen_through

COARSE, FINE, FINEST = 32, 64, 128  # pixels of the shorter side
KEPT, WIDE_KEPT = 3, 4  # results that are looked at again
SAME = 0.1  # of the shorter side: results whose corners are nearer than that are one
FEW_TURNS, TURNS, WIDE_TURNS = (0, -30, 30), (-60, 0, 60), range(-180, 180, 30)  # degrees
SHIFT = 0.15  # of the shorter side
# Scales, each with shifts down and to the right. All shifts at both scales lead to nothing better on hearts, skulls,
# radiographs, and radiographs turned by any angle.
SCALES = {0.8: ((0, 0), (-SHIFT, 0), (SHIFT, 0)), 1.25: ((0, 0), (0, -SHIFT), (0, SHIFT))}
MAX_SCALE = 2.5  # along any direction; 1 / MAX_SCALE is the smallest
WEIGHTS = Weights(smoothness=1.0)
# Up to this energy images are plainly alike. It is less for all radiographs, skulls, brains, and hearts of one patient;
# above -0.8 for hearts of two patients, CT and MR, and images that are turned by 90 or 180 degrees.
ALIKE = -1.0
# On 32 pixels, up to this energy a pair as it lies is never beaten by one turned a little, which need not be tried.
# Above -1.28 for images that are turned by 20 degrees.
CLEARLY_ALIKE = -1.4
MARGIN = 0.12  # another start than the identity must gain so much: between CT and MR, chance mostly gains less


@torch.no_grad()
def initial_affine(
    network: RegistrationNetwork,
    fixed: Tensor,
    moving: Tensor,
    *,
    wide: bool = False,
    masks: Masks = NO_MASKS,
) -> Tensor:
    """Return the affine map (1, 2, 3), as in `affine_after`, to register two images (1, 1, H, W) of one size from.

    `network` predicts velocity fields of pairs of any kind. `wide` also looks for images that are turned by up to 180
    degrees, or mirrored. `masks` (1, 1, H, W) say where the fixed and the moving image count.
    """
    if wide:
        return wide_affine(network, fixed, moving, masks)
    found, alike = quick_affines(network, fixed, moving, masks)
    return found if alike else searched_affine(network, fixed, moving, masks)


@torch.no_grad()
def searched_affine(network: RegistrationNetwork, fixed: Tensor, moving: Tensor, masks: Masks = NO_MASKS) -> Tensor:
    """Return `initial_affine` of a pair that `quick_affines` does not find plainly alike."""
    full, coarse, fine = _sizes(moving)
    found, energies = _judged(network, fixed, moving, coarse, _turned(coarse, FEW_TURNS).to(moving), masks)
    likely = _rescaled(found[energies.argmin()][None], coarse, fine)
    found, energies = _judged(network, fixed, moving, fine, likely, masks)
    if energies[0] <= ALIKE:
        return _rescaled(found, fine, full)
    starts = _starts(coarse, TURNS).to(moving)
    found, energies = _judged(network, fixed, moving, coarse, starts, masks)
    best = _distinct(found[energies.argsort()], coarse)[:KEPT]
    again = torch.cat((torch.eye(2, 3)[None].to(best), _rescaled(best, coarse, fine)))
    found, energies = _judged(network, fixed, moving, fine, again, masks)
    best_one = 0 if energies[0] <= energies.min() + MARGIN else energies.argmin()
    return _rescaled(found[best_one][None], fine, full)


@torch.no_grad()
def wide_affine(network: RegistrationNetwork, fixed: Tensor, moving: Tensor, masks: Masks = NO_MASKS) -> Tensor:
    """Return `initial_affine` of a pair of which one image may be turned by any angle, or mirrored.

    Mirrored chests look alike on small images, so that the better of both is told on 128 pixels.
    """
    full, coarse, fine = _sizes(moving)
    finest = network_size(full, FINEST, len(PASSES))
    turned = _turned(coarse, WIDE_TURNS).to(moving)
    both = [_best_of(network, fixed, moving, starts, masks) for starts in (turned, _mirrored(turned, coarse))]
    lying = torch.eye(2, 3).to(moving)[None]
    maps = torch.cat((_rescaled(lying, full, finest), *(_rescaled(best, fine, finest) for best in both)))
    _, energies = _judged(network, fixed, moving, finest, maps, masks)
    likely = energies[1:].argmin() + 1
    alone = energies[likely] > ALIKE and energies[0] <= energies[likely] + MARGIN
    return _rescaled(maps[:1] if alone else maps[likely][None], finest, full)


def _best_of(network: RegistrationNetwork, fixed: Tensor, moving: Tensor, starts: Tensor, masks: Masks) -> Tensor:
    """Return the best map (1, 2, 3) on 64 pixels that starts (n, 2, 3) on 32 pixels lead to, each looked at twice."""
    _, coarse, fine = _sizes(moving)
    found, energies = _judged(network, fixed, moving, coarse, starts, masks)
    found, energies = _judged(network, fixed, moving, coarse, _best(found, energies, coarse), masks)
    likely = _rescaled(_best(found, energies, coarse), coarse, fine)
    first, judged = _judged(network, fixed, moving, fine, likely, masks)
    again, after = _judged(network, fixed, moving, fine, first[judged.argsort()[:2]], masks)
    return torch.cat((first, again))[torch.cat((judged, after)).argmin()][None]


def _best(maps: Tensor, energies: Tensor, size: Sequence[int]) -> Tensor:
    return _distinct(maps[energies.argsort()], size)[:WIDE_KEPT]


def _mirrored(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Affine maps (n, 2, 3) of the fixed image mirrored from left to right, in pixels of images of `size`."""
    mirror = maps.new_tensor([[1, 0, 0], [0, -1, size[1] - 1], [0, 0, 1]])
    return maps @ mirror


@torch.no_grad()
def quick_affines(
    network: RegistrationNetwork, fixed: Tensor, moving: Tensor, masks: Masks = NO_MASKS
) -> tuple[Tensor, Tensor]:
    """Return `initial_affine` (B, 2, 3) of the pairs that are plainly alike as they lie, and which of them are (B,).

    `fixed` is (B or 1, 1, H, W), `moving` (B, 1, H, W). The other maps mean nothing. A batch takes half the time of its
    pairs alone, and its maps differ from theirs in the last digits.
    """
    full, coarse, fine = _sizes(moving)
    lying = torch.eye(2, 3).to(moving).expand(len(moving), -1, -1)
    found, energies = _judged(network, fixed, moving, coarse, lying, masks)
    alike = energies <= CLEARLY_ALIKE
    if alike.any():
        some = fixed if len(fixed) == 1 else fixed[alike]
        likely = _rescaled(found[alike], coarse, fine)
        found[alike], energies = _judged(network, some, moving[alike], fine, likely, masks)
        alike[alike.clone()] = energies <= ALIKE
    return _rescaled(found, fine, full), alike


@torch.no_grad()
def plainly_alike(fixed: Tensor, moving: Tensor, velocity: Tensor, masks: Masks = NO_MASKS) -> bool:
    """Whether a velocity field (1, 2, H, W) leaves two images (1, 1, H, W) plainly alike, by its energy."""
    size = network_size(moving.shape[2:], FINE, 2)
    small, seen, (on, of) = _shrunk(fixed, moving, masks, size)
    return bool(_energy(small, seen, on, of)(resize_flow(velocity, size)) <= ALIKE)


def nearest_affine(flow: Tensor) -> Tensor:
    """Return the affine map (B, 2, 3) that is nearest to a flow (B, 2, H, W) in the mean square over its pixels."""
    moved, size = flow.double().flatten(2), flow.shape[2:]  # (B, 2, H W)
    centre = numbers([(length - 1) / 2 for length in size], moved)
    # The coordinates of a grid are not correlated, so each column is a regression on one of them.
    places = pixel_grid(flow).double().flatten(1) - centre[:, None]  # (2, H W)
    linear = moved @ places.T / places.square().sum(dim=1) + torch.eye(2, dtype=moved.dtype, device=moved.device)
    shift = centre + moved.mean(dim=2) - linear @ centre
    return torch.cat((linear, shift[:, :, None]), dim=2).to(flow.dtype)


def _sizes(image: Tensor) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """The size of an image (H, W), and the coarse and the fine one at which it is looked at."""
    full = image.shape[2:]
    return full, network_size(full, COARSE, 2), network_size(full, FINE, 2)


def _judged(
    network: RegistrationNetwork, fixed: Tensor, moving: Tensor, size: Sequence[int], maps: Tensor, masks: Masks
) -> tuple[Tensor, Tensor]:
    """For each affine map, that of the network's result after it, and the energy of that; inf where implausible.

    Of one pair of images or, without masks, of as many as there are maps.
    """
    given = {"fixed": fixed, "moving": moving, "maps": maps, "on": masks[0], "of": masks[1]}
    return replayed_with(network, _judge).copied(tuple(size), given)


def _judge(network: RegistrationNetwork, size: Sequence[int], inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    maps, masks = inputs["maps"], (inputs.get("on"), inputs.get("of"))
    small, seen, (on, of) = _shrunk(inputs["fixed"], inputs["moving"], masks, size)
    seen = seen_through(maps, seen)
    *_, velocity = coarse_to_fine(network, small, seen)
    # What a map brings in from outside counts, or maps would gain by leaving the image.
    of = None if of is None else 1 - seen_through(maps, 1 - of)
    energy = _energy(small.expand_as(seen), seen, on, of)(velocity)
    found = nearest_affine(affine_after(maps, integrate(velocity)))
    return found, torch.where(_plausible(found[:, :, :2]), energy, math.inf)


def _plausible(linear: Tensor) -> Tensor:
    """Whether matrices (B, 2, 2) stretch nothing beyond MAX_SCALE, by their singular values."""
    squares = linear.square().sum(dim=(1, 2))
    determinant = linear[:, 0, 0] * linear[:, 1, 1] - linear[:, 0, 1] * linear[:, 1, 0]
    spread = (squares.square() - 4 * determinant.square()).clamp(min=0).sqrt()
    largest, smallest = ((squares + sign * spread) / 2 for sign in (1, -1))
    return (largest <= MAX_SCALE**2) & (smallest >= MAX_SCALE**-2)


def _shrunk(fixed: Tensor, moving: Tensor, masks: Masks, size: Sequence[int]) -> tuple[Tensor, Tensor, Masks]:
    """Two images and their masks at a smaller size."""

    def small(image: Tensor) -> Tensor:
        return F.interpolate(image, size, mode="area")

    on, of = (None if mask is None else small(mask) for mask in masks)
    return small(fixed), small(moving), (on, of)


def _energy(fixed: Tensor, moving: Tensor, fixed_mask: Tensor | None, moving_mask: Tensor | None) -> PairEnergy:
    return PairEnergy(
        fixed, moving, measure=measure("ncc"), weights=WEIGHTS, fixed_mask=fixed_mask, moving_mask=moving_mask
    )


def _turned(size: Sequence[int], turns: Sequence[int], scale: float = 1.0) -> Tensor:
    """Turns about the centre: (n, 2, 3) in pixels of images of `size`."""
    centre = torch.tensor([(length - 1) / 2 for length in size])
    maps = []
    for turn in map(math.radians, turns):
        linear = scale * torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        maps.append(torch.column_stack((linear, centre - linear @ centre)))
    return torch.stack(maps)


def _starts(size: Sequence[int], turns: Sequence[int]) -> Tensor:
    """Turns, scales and shifts: (n, 2, 3) in pixels of images of `size`."""
    maps = []
    for turn, (scale, shifts) in product(turns, SCALES.items()):
        moved = torch.zeros(len(shifts), 2, 3)
        moved[:, :, 2] = torch.tensor(shifts) * min(size)
        maps.append(_turned(size, [turn], scale) + moved)
    return torch.cat(maps)


def _distinct(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return affine maps (n, 2, 3) without those that are as good as an earlier one: many starts lead to one result."""
    corners = torch.cartesian_prod(*(maps.new_tensor([0, length - 1]) for length in size)).T
    led = (maps[:, :, :2] @ corners + maps[:, :, 2:]).transpose(1, 2)  # (n, 4, 2)
    kept: list[int] = []
    for number, places in enumerate(led):
        if all((places - led[other]).norm(dim=1).max() > SAME * min(size) for other in kept):
            kept.append(number)
    return maps[kept]


def _rescaled(maps: Tensor, size: Sequence[int], other: Sequence[int]) -> Tensor:
    """Affine maps (n, 2, 3) between images of `size` as maps between the same images of `other` size."""
    ratio = numbers([to / of for to, of in zip(other, size, strict=True)], maps)
    linear, shift = maps[:, :, :2], maps[:, :, 2]
    # Pixels are areas: the place p of the one is (p + 1/2) * ratio - 1/2 of the other.
    rescaled = ratio[:, None] * linear / ratio
    moved = ratio * (shift + 0.5 - linear.sum(dim=2) / 2) - 0.5 + rescaled.sum(dim=2) / 2
    return torch.cat((rescaled, moved[:, :, None]), dim=2)
