"""The energy of the pair optimiser: how much of the images a velocity field leaves unexplained, and how rough it is.

    energy(v) = log u(v) + smoothness * roughness(v) + how far v is from what is expected + what landmarks add

u is what the similarity leaves unexplained, in (0, 1], as 1 - r^2 is for a correlation r: of the fixed image by the
warped moving one, and of the moving image by the fixed one warped by the inverse; the mean of both. To see a pair from
both sides keeps a field from shrinking what it cannot match. The logarithm is what a maximum likelihood asks for where
the noise is not known: a pair with much that no field explains is held smoother than one where all fits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regstudio.losses.masked import (
    Masked,
    common_mask,
    masked_global_ncc,
    masked_information,
    masked_mean,
    masked_ncc,
)
from regstudio.losses.mind import mind_descriptors
from regstudio.losses.scales import AtScales
from regstudio.losses.similarity import MSE, GlobalNCC, MutualInformation
from regstudio.methods import Similarity
from regstudio.networks import ops
from regstudio.networks.warp import at_places, integrate, numbers, resize_flow

NCC_WINDOW, NCC_SCALES = 9, 3
# A share of the shorter side: to deviate is dear within, and cheap beyond. A network is a little wrong in most places
# and far off in a few.
NEAR = 0.01
LEAST = 1e-6  # keeps the logarithm finite where images are equal
MIN_SIDE = 24  # pixels of the shorter side at which the NCC is taken, at least


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the terms beside the similarity weigh.

    - `smoothness`: the roughness of the velocity field
    - `deviation`: what it differs by from the expected one, as the mean of log(1 + (distance / NEAR)^2)
    - `deviation_smoothness`: the roughness of that difference
    - `landmarks`: the mean squared distance of the landmarks in pixels of the whole image
    """

    smoothness: float = 4.0
    deviation: float = 0.0
    deviation_smoothness: float = 0.0
    landmarks: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A similarity as the optimiser takes it: `describe` is done to an image once, before it is warped.

    `unexplained` compares what was described, (B, C, H, W), and returns (B,), 0 for a perfect match, about 1 for none;
    `masked` does so within a mask (B, 1, H, W).
    """

    describe: Callable[[Tensor], Tensor]
    unexplained: Callable[[Tensor, Tensor], Tensor]
    masked: Masked


def measure(name: Similarity) -> Measure:
    """Return one of the losses as a Measure: NCC at up to three scales, MIND descriptors, exp(-2 MI), ..."""
    return _MEASURES[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Landmarks of one pair, (n, 2), y and x in pixels of the images: row i is the same place in both."""

    fixed: Tensor
    moving: Tensor


class PairEnergy:
    """Energy of the velocity fields (B, 2, h, w) of B pairs of images (B, 1, H, W): see the module.

    `expected` (B, 2, h, w) is the velocity field that is taken to be likely; 0 if not given.
    `fixed_mask` and `moving_mask` (B, 1, H, W), in [0, 1], say where the images count. `points` are the landmarks of
    each pair, in pixels of images of the size `full` (H, W).
    """

    def __init__(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        measure: Measure,
        weights: Weights,
        expected: Tensor | None = None,
        integration_steps: int = 5,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        points: Sequence[Points | None] | None = None,
        full: Sequence[int] | None = None,
    ) -> None:
        fixed, moving = measure.describe(fixed), measure.describe(moving)
        # Both ways as one batch: the fixed image against the warped moving one, then the other way round.
        self._still, self._warped = torch.cat((fixed, moving)), torch.cat((moving, fixed))
        self._still_mask: Tensor | None = None
        self._warped_mask: Tensor | None = None
        if fixed_mask is not None or moving_mask is not None:
            masks = [
                torch.ones_like(fixed[:, :1]) if mask is None else mask.expand(len(fixed), -1, -1, -1)
                for mask in (fixed_mask, moving_mask)
            ]
            self._still_mask, self._warped_mask = torch.cat(masks), torch.cat(masks[::-1])
        self._measure = measure
        self._weights, self._expected, self._steps = weights, expected, integration_steps
        self._points = points
        self._size = fixed.shape[2:]
        self._full = full or self._size

    def __call__(self, velocity: Tensor) -> Tensor:
        """Return the energy of each pair, (B,)."""
        flows = integrate(torch.cat((velocity, -velocity)), self._steps)
        unexplained = self._left_by(resize_flow(flows, self._size)).view(2, -1).mean(dim=0)
        weights = self._weights
        energy = (unexplained + LEAST).log() + weights.smoothness * roughness(velocity)
        if weights.deviation or weights.deviation_smoothness:
            energy = energy + self._deviation(velocity)
        if self._points is not None and weights.landmarks:
            distances = [
                _distance(flow, points, self._full)
                for flow, points in zip(flows[: len(velocity), None], self._points, strict=True)
            ]
            energy = energy + weights.landmarks * torch.stack(distances)
        return energy

    def _deviation(self, velocity: Tensor) -> Tensor:
        difference = velocity if self._expected is None else velocity - self._expected
        distance = difference / (NEAR * min(velocity.shape[2:]))
        amount: Tensor = self._weights.deviation * distance.square().sum(dim=1).log1p().mean(dim=(1, 2))
        return amount + self._weights.deviation_smoothness * roughness(difference)

    def _left_by(self, flows: Tensor) -> Tensor:
        """What the flows (2B, 2, H, W) of both ways leave unexplained, (2B,)."""
        warped, still = ops.warp(self._warped, flows, "bilinear", "border"), self._still
        if self._still_mask is None or self._warped_mask is None:
            return self._measure.unexplained(still, warped)
        # Masks have no gradient: a field must not gain by moving what does not match out of sight.
        with torch.no_grad():
            mask = common_mask(self._still_mask, self._warped_mask, flows)
        return self._measure.masked(still, warped, mask)


def roughness(field: Tensor) -> Tensor:
    """Mean square of the forward differences of each field, as losses.Grad: (B, 2, h, w) -> (B,)."""
    rows, columns = (field.diff(dim=axis).square().mean(dim=(1, 2, 3)) for axis in (2, 3))
    return (rows + columns) / 2


def _distance(flow: Tensor, points: Points | None, full: Sequence[int]) -> Tensor:
    """Mean squared distance, in pixels of `full`, of the moving points from where a flow (1, 2, h, w) leads."""
    if points is None or not len(points.fixed):
        return flow.new_zeros(())
    ratio = numbers([length / whole for length, whole in zip(flow.shape[2:], full, strict=True)], flow)
    places = (points.fixed + 0.5) * ratio - 0.5
    moved = at_places(flow, places[None])[0]
    return (points.fixed + moved / ratio - points.moving).square().sum(dim=1).mean()


def _ncc(fixed: Tensor, warped: Tensor) -> Tensor:
    return 1 - ops.mean_local_ncc(fixed, warped, NCC_WINDOW)


def _mind(fixed: Tensor, warped: Tensor) -> Tensor:
    return (fixed - warped).abs().mean(dim=(1, 2, 3))


def _each(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of a batch, taken of each pair."""
    return lambda fixed, warped: torch.stack(
        [loss(*pair) for pair in zip(fixed[:, None], warped[:, None], strict=True)]
    )


def _image(image: Tensor) -> Tensor:
    return image


def _masked_ncc(fixed: Tensor, warped: Tensor, mask: Tensor) -> Tensor:
    return 1 - masked_ncc(fixed, warped, mask, NCC_WINDOW)


_GLOBAL_NCC, _MSE, _MI = GlobalNCC(), MSE(), MutualInformation()
_MEASURES: dict[str, Measure] = {
    "ncc": Measure(
        describe=_image,
        unexplained=AtScales(_ncc, NCC_SCALES, MIN_SIDE),
        masked=AtScales(_masked_ncc, NCC_SCALES, MIN_SIDE),
    ),
    "mind": Measure(
        describe=lambda image: mind_descriptors(image, dilation=1),
        unexplained=_mind,
        masked=lambda f, w, mask: masked_mean((f - w).abs(), mask),
    ),
    # Of two normal variables with the correlation r, the mutual information is -log(1 - r^2) / 2.
    "mi": Measure(
        describe=_image,
        unexplained=_each(lambda f, w: (2 * _MI(f, w)).exp()),
        masked=lambda f, w, mask: (-2 * masked_information(f, w, mask)).exp(),
    ),
    "global_ncc": Measure(
        describe=_image,
        unexplained=_each(lambda f, w: (1 + _GLOBAL_NCC(f, w)) / 2),
        masked=lambda f, w, mask: (1 - masked_global_ncc(f, w, mask)) / 2,
    ),
    "mse": Measure(
        describe=_image, unexplained=_each(_MSE), masked=lambda f, w, mask: masked_mean((f - w).square(), mask)
    ),
}
