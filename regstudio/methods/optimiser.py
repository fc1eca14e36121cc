"""The pair optimiser: registers a pair, or a batch of pairs, by descent on its own energy, coarse to fine; no training.

It looks for a stationary velocity field, whose flow has an inverse and practically no folds.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regstudio.data.pairs.pair import Pair
from regstudio.methods import Similarity, SimilarityChoice
from regstudio.methods.descent import Level, descend_levels, field_grid, level_sizes
from regstudio.methods.energy import PairEnergy, Points, Weights, measure
from regstudio.methods.general_network import general_network, look
from regstudio.methods.masks import NO_MASKS, Masks, as_tensors, counted, mask_arrays
from regstudio.methods.similarity_choice import choose_similarity, similarity_as_registered
from regstudio.networks.replay import Replayed
from regstudio.networks.warp import affine_after, integrate, inverse_affine_after, resize_flow, seen_through
from regstudio.transforms.transform import Transform

BETWEEN_KINDS = ("mind", "mi")  # the similarities of images of two kinds


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """How a pair is optimised; the defaults are for images of one kind, `settings_for` has those of others.

    `finest` and `coarsest` are the shorter sides in pixels of the largest and the smallest images that are looked at;
    in between each is half as large. `steps` are the most steps on each of these, coarse to fine; the last number
    counts for all further ones.
    """

    similarity: Similarity = "ncc"
    weights: Weights = field(default_factory=Weights)
    finest: int = 128
    coarsest: int = 24
    steps: tuple[int, ...] = (60, 40, 20)
    step_size: float = 0.4
    smoothing: float = 1.5


# On radiographs the least energy is not where the organs meet, and a network of shapes knows better; on hearts it is.
# These leave each what it does best. A start so near needs few steps, and none on small images.
_NEAR_A_NETWORK = Weights(smoothness=1.0, deviation=0.15, deviation_smoothness=2.0)
# Where the start does not leave the images plainly alike, it may be far off: it pulls half as much, and the search
# begins on small images.
_AROUND_A_NETWORK = Weights(smoothness=1.0, deviation=0.08, deviation_smoothness=1.0)


def settings_for(similarity: Similarity, *, expected: bool = False, alike: bool = True) -> OptimiserSettings:
    """Return the settings that suit a similarity, and a start that is `expected` to be near, as of a network.

    `alike` says whether that start leaves the images plainly alike, see `plainly_alike`.
    Between images of two kinds much is there that no field explains, and the more so the smaller they are: the field is
    held stiff and short, and looked for on the largest images alone.
    """
    if similarity in BETWEEN_KINDS:
        near = Weights(smoothness=12.0, deviation=0.3)
        return OptimiserSettings(similarity=similarity, weights=near, coarsest=100, step_size=0.3, smoothing=1.0)
    if expected and alike:
        return OptimiserSettings(
            similarity=similarity, weights=_NEAR_A_NETWORK, coarsest=48, steps=(10, 12), smoothing=1.0
        )
    if expected:
        return OptimiserSettings(similarity=similarity, weights=_AROUND_A_NETWORK, steps=(20, 20, 15), smoothing=1.0)
    return OptimiserSettings(similarity=similarity)


class Optimised(NamedTuple):
    """What the optimiser found for B pairs: `velocity`, `flow` and `inverse` (B, 2, H, W) in pixels.

    The flow is a pull-back on the fixed grid and includes the affine map; `inverse` is on the moving grid. `curve`
    (n, B) has the energy before each step, on one size of the images after the other; `energy` (B,) is the last.
    """

    velocity: Tensor
    flow: Tensor
    inverse: Tensor
    energy: Tensor
    curve: Tensor


def optimise(
    fixed: Tensor,
    moving: Tensor,
    settings: OptimiserSettings | None = None,
    *,
    affine: Tensor | None = None,
    velocity: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    points: Sequence[Points | None] | None = None,
) -> Optimised:
    """Register B pairs of images, values in [0, 1]; a batch gives what its pairs give one by one.

    `fixed` (B or 1, 1, H, W) and `moving` (B, 1, H, W) have one size. The start is nothing, the map `affine` (B, 2, 3),
    which then comes after the deformation as in `affine_after`, or a `velocity` (B, 2, H, W), as of a network that saw
    the moving image through `affine`; the weights say how near to it the field is expected. Masks (B, 1, H, W) in
    [0, 1] say where the images count; `points` are the landmarks of each pair.
    """
    chosen, fixed = settings or OptimiserSettings(), fixed.expand_as(moving)
    given = {"affine": affine, "velocity": velocity, "fixed_mask": fixed_mask, "moving_mask": moving_mask}
    if points is not None:
        return _optimised(fixed, moving, chosen, points=points, **given)
    return Optimised(*_REPLAYED.copied(chosen, {"fixed": fixed, "moving": moving, **given}))


@torch.no_grad()
def _optimised(
    fixed: Tensor,
    moving: Tensor,
    settings: OptimiserSettings,
    *,
    affine: Tensor | None = None,
    velocity: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    points: Sequence[Points | None] | None = None,
) -> Optimised:
    if affine is not None:
        moving, moving_mask, points = _through(affine, moving, moving_mask, points)
    start = moving.new_zeros(len(moving), 2, *moving.shape[2:]) if velocity is None else velocity
    levels = _levels(fixed, moving, settings, velocity, fixed_mask, moving_mask, points)
    found = descend_levels(levels, start, step_size=settings.step_size, smoothing=settings.smoothing)
    flow, inverse = integrate(found.field), integrate(-found.field)
    if affine is not None:
        flow, inverse = affine_after(affine, flow), inverse_affine_after(affine, inverse)
    return Optimised(velocity=found.field, flow=flow, inverse=inverse, energy=found.energy, curve=found.curve)


def _by_name(settings: OptimiserSettings, inputs: Mapping[str, Any]) -> Optimised:
    return _optimised(settings=settings, **inputs)


_REPLAYED = Replayed(_by_name)


class Optimiser:
    """The pair optimiser as a Method; with the similarity "auto", it is chosen for each pair by the images.

    `settings` are used as they are for every pair, whatever `similarity` says.
    """

    name = "optimiser"

    def __init__(
        self,
        settings: OptimiserSettings | None = None,
        *,
        similarity: SimilarityChoice = "auto",
        device: str | torch.device = "cpu",
    ) -> None:
        self.settings, self.similarity, self.device = settings, similarity, torch.device(device)
        how = {"similarity": similarity} if settings is None else asdict(settings)
        self.provenance: Mapping[str, Any] = {"device": str(self.device), **how}

    def __call__(self, pair: Pair) -> Transform:
        """Register a pair; its landmarks, if it has any, are for scoring, and are not looked at."""
        start = time.perf_counter()
        fixed, moving = images_of(pair, self.device)
        masks = on, of = as_tensors(mask_arrays(pair), self.device)
        settings = self.settings or chosen_settings(self.similarity, fixed, moving, masks)
        found = optimise(fixed, moving, settings, fixed_mask=on, moving_mask=of)
        return transform_of(found, time.perf_counter() - start)


def chosen_settings(
    similarity: SimilarityChoice, fixed: Tensor, moving: Tensor, masks: Masks = NO_MASKS
) -> OptimiserSettings:
    """Return the settings for one pair of images (1, 1, H, W); "auto" looks at them, where in doubt registered."""
    if similarity != "auto":
        return settings_for(similarity)
    (chosen,) = choose_similarity(fixed, moving, mask=counted(masks, None))
    if chosen != "ncc" and (network := general_network(fixed.device)) is not None:
        seen = look(network, fixed, moving, masks=masks)
        chosen = similarity_as_registered(fixed, seen.warped, seen.counted)
    return settings_for(chosen)


def images_of(pair: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the fixed and the moving image of a pair, each (1, 1, H, W)."""
    fixed, moving = (torch.from_numpy(image)[None, None].to(device) for image in (pair.fixed, pair.moving))
    return fixed, moving


def transform_of(found: Optimised, seconds: float) -> Transform:
    """Return the Transform of the only pair of a batch."""
    flow, inverse = (np.ascontiguousarray(flow[0].cpu().numpy()) for flow in (found.flow, found.inverse))
    return Transform(flow=flow, inverse_flow=inverse, seconds=seconds, losses=tuple(found.curve[:, 0].tolist()))


def _levels(
    fixed: Tensor,
    moving: Tensor,
    settings: OptimiserSettings,
    expected: Tensor | None,
    fixed_mask: Tensor | None,
    moving_mask: Tensor | None,
    points: Sequence[Points | None] | None,
) -> list[Level]:
    full = fixed.shape[2:]
    levels = []
    for number, size in enumerate(level_sizes(full, settings.finest, settings.coarsest)):
        grid = field_grid(size)
        energy = PairEnergy(
            _shrunk(fixed, size),
            _shrunk(moving, size),
            measure=measure(settings.similarity),
            weights=settings.weights,
            expected=None if expected is None else resize_flow(expected, grid),
            fixed_mask=None if fixed_mask is None else _shrunk(fixed_mask, size),
            moving_mask=None if moving_mask is None else _shrunk(moving_mask, size),
            points=points,
            full=full,
        )
        steps = settings.steps[min(number, len(settings.steps) - 1)]
        levels.append(Level(energy=energy, grid=grid, steps=steps))
    return levels


def _shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    return image if image.shape[2:] == size else F.interpolate(image, size, mode="area")


def _through(
    affine: Tensor, moving: Tensor, mask: Tensor | None, points: Sequence[Points | None] | None
) -> tuple[Tensor, Tensor | None, Sequence[Points | None] | None]:
    """What belongs to the moving image, as it is seen through an affine map."""
    if points is not None:
        points = [
            None if some is None else Points(fixed=some.fixed, moving=_solve(matrix, some.moving))
            for matrix, some in zip(affine, points, strict=True)
        ]
    return seen_through(affine, moving), None if mask is None else seen_through(affine, mask), points


def _solve(matrix: Tensor, points: Tensor) -> Tensor:
    """Where an affine map (2, 3) takes to `points` (n, 2)."""
    solved: Tensor = torch.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T
    return solved
