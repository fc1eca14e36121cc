"""What changes as a training goes on: the learning rate, and the size of the images."""

import math
from dataclasses import dataclass
from typing import Literal

MIN_RATE_SHARE = 0.02  # of the learning rate, at the end of a cosine


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Functions of the number of steps done, out of `total`; the rest are the settings of the same names."""

    total: int
    lr: float
    lr_schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    start_scale: int = 1
    coarse_share: float = 0.0

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear rise, and a cosine fall over the whole training."""
        rate = self.lr * min(1, (step + 1) / (self.warmup_steps + 1))
        if self.lr_schedule == "cosine":
            fall = (1 + math.cos(math.pi * min(1, step / self.total))) / 2
            rate *= MIN_RATE_SHARE + (1 - MIN_RATE_SHARE) * fall
        return rate

    def scale(self, step: int) -> int:
        """Return how many times smaller the images of a step are: each power of 2 for as many steps, then 1."""
        reductions = self.start_scale.bit_length() - 1
        coarse_steps = self.coarse_share * self.total
        if step >= coarse_steps:
            return 1
        return self.start_scale >> int(step * reductions / coarse_steps)
