"""Descent: the field of a pair, or of each pair of a batch, that makes an energy least, by Adam, coarse to fine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from regstudio.networks.warp import resize_flow

Energy = Callable[[Tensor], Tensor]  # a field (B, 2, h, w) -> how bad it is for each pair, (B,)

STEP_SIZE = 0.25  # pixels of the field's grid that an Adam step changes the field by, roughly
SMOOTHING = 1.0  # pixels of the field's grid: standard deviation of the Gaussian that smooths what is added
PATIENCE = 10  # steps without a gain of `min_gain` after which a pair has arrived
MIN_GAIN = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """One size of the images: the energy on them, the grid (h, w) of the field, and the most steps."""

    energy: Energy
    grid: tuple[int, int]
    steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """The best field of each pair (B, 2, h, w), its energy (B,), and the energies of all steps on the way (n, B)."""

    field: Tensor
    energy: Tensor
    curve: Tensor


def descend_levels(
    levels: Sequence[Level],
    start: Tensor,
    *,
    step_size: float = STEP_SIZE,
    smoothing: float = SMOOTHING,
    min_gain: float = MIN_GAIN,
) -> Descent:
    """Descend on each level from where the one before arrived, adding to `start` (B, 2, H, W), of any size.

    Only what is added is passed from grid to grid. Each pair's energy on the last level is never above that of its
    start; where nothing is gained, or no step is taken, `start` itself comes back. The field is of its size.
    """
    added = torch.zeros_like(start)
    curves = []
    for level in levels:
        base = resize_flow(start, level.grid)
        found = descend(
            level.energy,
            base + resize_flow(added, level.grid),
            steps=level.steps,
            step_size=step_size,
            smoothing=smoothing,
            min_gain=min_gain,
        )
        added = found.field - base
        curves.append(found.curve)
    before = level.energy(base)
    gained = found.energy < before
    added = torch.where(gained[:, None, None, None], resize_flow(added, start.shape[2:]), 0)
    return Descent(field=start + added, energy=torch.where(gained, found.energy, before), curve=torch.cat(curves))


def descend(
    energy: Energy,
    start: Tensor,
    *,
    steps: int,
    step_size: float = STEP_SIZE,
    smoothing: float = SMOOTHING,
    min_gain: float = MIN_GAIN,
) -> Descent:
    """Descend from the field `start` (B, 2, h, w) by at most `steps` steps of Adam; never worse than `start`.

    Each pair keeps the best field seen, and stops by itself: a batch gives what its pairs give one by one. With no
    steps, or where nothing is gained, `start` comes back.
    """
    raw = torch.zeros_like(start).requires_grad_()
    adam = torch.optim.Adam([raw], lr=step_size, capturable=raw.is_cuda)
    best, least = start, start.new_full((len(start),), torch.inf)
    mark, waited = least, torch.zeros_like(least)
    curve = []
    with torch.enable_grad():
        for step in range(steps + 1):
            field = start + smoothed(raw, smoothing)
            energies = energy(field)
            values, running = energies.detach(), waited < PATIENCE
            better = running & (values < least)
            best = torch.where(better[:, None, None, None], field.detach(), best)
            least = torch.where(better, values, least)
            curve.append(torch.where(running, values, least))
            gained = running & (values < mark - min_gain)
            mark, waited = torch.where(gained, values, mark), torch.where(gained, 0, waited + 1)
            if step == steps or _all_wait(waited):
                break
            gradient = torch.autograd.grad(energies.sum(), raw)[0]
            # A pair whose gradient is no number stays where it is.
            raw.grad = torch.where(gradient.isfinite().all(dim=(1, 2, 3), keepdim=True), gradient, 0)
            adam.step()
    return Descent(field=best, energy=least, curve=torch.stack(curve))


def _all_wait(waited: Tensor) -> bool:
    """Whether no pair goes on; a GPU that captures the steps takes them all, and what has arrived stays as it is."""
    return not (waited.is_cuda and torch.cuda.is_current_stream_capturing()) and not bool((waited < PATIENCE).any())


def level_sizes(size: Sequence[int], finest: int, coarsest: int) -> list[tuple[int, int]]:
    """Return the sizes (h, w) of smaller and smaller images of `size` (H, W), coarse to fine, each half the next.

    The shorter side of the last is `finest` pixels, or the image's own where that is less; that of the first is the
    least that is not below `coarsest`.
    """
    sides: list[float] = [min(*size, finest)]
    while sides[0] / 2 >= coarsest:
        sides.insert(0, sides[0] / 2)
    height, width = size
    return [(round(height * side / min(size)), round(width * side / min(size))) for side in sides]


def field_grid(size: Sequence[int]) -> tuple[int, int]:
    """Return the grid (h, w) of the field for images of `size` (H, W): half of it, and at least 8 pixels each way."""
    height, width = size
    return max(8, -(-height // 2)), max(8, -(-width // 2))


def smoothed(field: Tensor, sigma: float) -> Tensor:
    """Return a field (B, C, h, w) convolved with a Gaussian of `sigma` pixels; beyond the border it goes on.

    As products of matrices: on a CPU 5 times faster than F.conv2d at 64 x 64, and still faster at 1024 x 1024.
    """
    if sigma <= 0:
        return field
    rows, columns = (_smoothing(length, sigma, field.device) for length in field.shape[2:])
    return rows @ field @ columns.T


@lru_cache(maxsize=16)
def _smoothing(length: int, sigma: float, device: torch.device) -> Tensor:
    """The convolution with a Gaussian along a side, as a matrix (length, length) in float32."""
    radius = min(max(1, round(3 * sigma)), length - 1)
    distances = torch.arange(-radius, radius + 1)
    weights = (-(distances**2) / (2 * sigma**2)).exp()
    taken = (torch.arange(length)[:, None] + distances).clamp(0, length - 1)
    rows = (weights / weights.sum()).expand(length, -1)
    return torch.zeros(length, length).scatter_add_(1, taken, rows).to(device)
