"""Learning-rate schedule (warmup, cosine) and coarse-to-fine schedule of the image size."""

import math
from dataclasses import dataclass
from typing import Literal

MIN_RATE_SHARE = 0.02  # of the learning rate, left at the end of the cosine


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate and image size as functions of the step; the fields are the settings of the same names.

    `total` is the number of steps of the whole training, `decay` that of those in which the cosine falls, by default
    all.
    """

    total: int
    lr: float
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    start_scale: int = 1
    coarse_share: float = 0.0
    decay: int | None = None

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0 on): linear warmup, then constant or cosine decay."""
        rate = self.lr * min(1, (step + 1) / (self.warmup_steps + 1))
        if self.lr_schedule == "cosine":
            share = (1 + math.cos(math.pi * min(1, step / (self.decay or self.total)))) / 2
            rate *= MIN_RATE_SHARE + (1 - MIN_RATE_SHARE) * share
        return rate

    def scale(self, step: int) -> int:
        """Return the factor by which a step shrinks its images: powers of 2, each for equally many steps, then 1."""
        reductions = self.start_scale.bit_length() - 1
        coarse_steps = self.coarse_share * self.total
        if step >= coarse_steps:
            return 1
        return self.start_scale >> int(step * reductions / coarse_steps)
