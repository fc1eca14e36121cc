"""What makes one epoch's network the best: Dice where there are labels, else landmarks, else similarity."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from regstudio.training.saved_state import State


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A metric of the validation that decides which network is the best."""

    metric: Literal["dice", "tre", "similarity"]
    title: str
    higher_is_better: bool = True

    def score(self, metrics: Mapping[str, float]) -> float:
        """Return the metric such that more is better."""
        return metrics[self.metric] if self.higher_is_better else -metrics[self.metric]


CRITERIA = (
    Criterion(metric="dice", title="Dice"),
    Criterion(metric="tre", title="TRE", higher_is_better=False),
    Criterion(metric="similarity", title="similarity"),
)


def criterion_of(metrics: Mapping[str, float]) -> Criterion | None:
    """Return what decides by these metrics; None where nothing was validated."""
    return next((criterion for criterion in CRITERIA if criterion.metric in metrics), None)


def judged(state: State, metrics: Mapping[str, float]) -> tuple[State, bool]:
    """Return the state with the best score so far, and whether these metrics are the best."""
    criterion = criterion_of(metrics)
    if criterion is None:
        return state, False
    score = criterion.score(metrics)
    if criterion.metric == "dice":
        return replace(state, best_dice=max(score, state.best_dice)), score > state.best_dice
    before = state.best_score if state.best_by == criterion.metric else -math.inf
    return replace(state, best_score=max(score, before), best_by=criterion.metric), score > before
