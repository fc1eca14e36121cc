"""How long a training will still take: coarse-to-fine training takes far less for a step on smaller images."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt

from regstudio.runs.events import RunStarted
from regstudio.runs.step_columns import SCALES

RECENT_STEPS = 50  # of each image scale: the speed is averaged over these
RECENT_EPOCHS = 10
HALVING = 3.0  # times as long for images twice as wide: four times the pixels, but not all time goes into those


def seconds_per_step(scales: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]) -> dict[int, float]:
    """Return the mean seconds of the last steps of each image scale, from columns (n,) of all steps."""
    places = {scale: np.flatnonzero(scales == scale)[-RECENT_STEPS:] for scale in SCALES}
    return {scale: float(seconds[last].mean()) for scale, last in places.items() if len(last)}


def seconds_left(
    started: RunStarted, progress: Mapping[str, int], speeds: Mapping[int, float], extras: Sequence[float]
) -> float:
    """Return the seconds until the last epoch ends.

    `progress` holds the number of finished epochs, "epoch", and of steps of the next one, "step"; `speeds` the seconds
    of a step at each image scale that was reached; `extras` the seconds of each epoch apart from its steps.
    """
    done = progress["epoch"] * started.steps_per_epoch + progress["step"]
    total = started.epochs * started.steps_per_epoch
    plan = {int(scale): steps for scale, steps in started.scale_steps.items()} or {min(speeds): total}
    left = 0.0
    for scale, steps in plan.items():  # from coarse to fine
        left += max(0, steps - done) * _speed(scale, speeds)
        done = max(0, done - steps)
    validations = max(0, started.epochs - progress["epoch"]) * (fmean(extras[-RECENT_EPOCHS:]) if extras else 0.0)
    return left + validations


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
