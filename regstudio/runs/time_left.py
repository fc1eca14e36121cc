"""How long a training will still take: coarse-to-fine training takes far less for a step on smaller images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from regstudio.runs.events import RunStarted
from regstudio.runs.step_columns import SCALES

RECENT_STEPS = 50  # of each image scale: the speed is averaged over these
RECENT_EPOCHS = 10
HALVING = 3.0  # times as long for images twice as wide: four times the pixels, but not all time goes into those
# Of a step: to register and score one image, where no epoch has ended yet. It is 0.15 to 0.5.
VALIDATED = 0.3


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Seconds of the parts of a training, as they were measured before it.

    `steps` are those of a step at each image scale, `validation` of one validation, `epoch` of what else ends an epoch,
    `before` of what comes before the first step, `after` of what comes after the last. `images` is the number of
    training images, `size` that of the images, (H, W).
    """

    steps: Mapping[int, float]
    validation: float
    epoch: float
    before: float
    after: float
    images: int
    size: tuple[int, int]


def seconds_per_step(scales: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> dict[int, float]:
    """Return the mean seconds of the last steps of each image scale, from columns (n,) of all steps."""
    places = {scale: np.flatnonzero(scales == scale)[-RECENT_STEPS:] for scale in SCALES}
    return {scale: float(seconds[last].mean()) for scale, last in places.items() if len(last)}


def seconds_left(
    started: RunStarted,
    progress: Mapping[str, int],
    speeds: Mapping[int, float],
    extras: Sequence[float],
    measured: Speeds | None = None,
) -> float:
    """Return the seconds until the training ends.

    `progress` holds the number of finished epochs, "epoch", of steps of the next one, "step", and of its validated
    pairs, "pair"; `speeds` the seconds of a step at each image scale that was reached; `extras` the seconds of each
    epoch apart from its steps. What none of these tells yet is taken from what was `measured` before, or guessed.
    """
    steps_done = progress["epoch"] * started.steps_per_epoch + progress["step"]
    total = started.epochs * started.steps_per_epoch
    known = {**(measured.steps if measured else {}), **speeds}
    plan = {int(scale): steps for scale, steps in started.scale_steps.items()} or {min(known): total}
    left, done = 0.0, steps_done
    for scale, steps in plan.items():  # from coarse to fine
        left += max(0, steps - done) * _speed(scale, known)
        done = max(0, done - steps)
    if extras:
        extra = fmean(extras[-RECENT_EPOCHS:])
    elif measured:
        extra = measured.validation + measured.epoch
    else:
        extra = _speed(1, known) * VALIDATED * started.validation_cases
    pairs = progress.get("pairs", 0)
    epochs = started.epochs - progress["epoch"] - (progress.get("pair", 0) / pairs if pairs else 0)
    return left + max(0.0, epochs) * extra + (measured.after if measured else 0.0)


def _speed(scale: int, speeds: Mapping[int, float]) -> float:
    """Return the seconds of a step at an image scale; an estimate for a scale that was not reached yet."""
    if scale in speeds:
        return speeds[scale]
    fine, *coarser = sorted(speeds)
    growth = HALVING
    if coarser and speeds[coarser[0]] > 0:  # as much more as from the scale before
        growth = math.pow(speeds[fine] / speeds[coarser[0]], 1 / math.log2(coarser[0] / fine))
        growth = min(4.0, max(1.0, growth))
    return speeds[fine] * math.pow(growth, math.log2(fine / scale))
