"""Dice: the overlap of label images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from regstudio.metrics.checks import Array, check_labels, check_same_shape

Counts = dict[int, int]


@dataclass(frozen=True, kw_only=True)
class DiceScore:
    """Dice of each scored label, in [0, 1], and their unweighted mean; nan if no label is scored."""

    per_label: dict[int, float]
    mean: float


def dice(fixed_label: Array, warped_label: Array, labels: Iterable[int] | None = None) -> DiceScore:
    """Return the Dice of two label images, 2 |A and B| / (|A| + |B|), for each label and its mean.

    Both are integer arrays of one shape. By default every label except the background 0 is scored; `labels` selects
    others. A label in neither image is ignored; one in only one of them has 0. If no label is scored, `per_label` is
    empty and the mean is nan.

    Raises ValueError if the shapes differ or an array has no integer type.

    >>> dice(np.array([[0, 1, 1]]), np.array([[1, 1, 0]]))
    DiceScore(per_label={1: 0.5}, mean=0.5)

    Source: Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 1945.
    """
    check_same_shape("fixed_label", fixed_label, "warped_label", warped_label)
    fixed, warped = _pixel_counts(fixed_label), _pixel_counts(warped_label)
    shared = _pixel_counts(fixed_label[fixed_label == warped_label])
    present = fixed.keys() | warped.keys()
    scored = sorted(present - {0} if labels is None else present.intersection(labels))
    per_label = {label: 2 * shared.get(label, 0) / (fixed.get(label, 0) + warped.get(label, 0)) for label in scored}
    return DiceScore(per_label=per_label, mean=float(np.mean(list(per_label.values()))) if per_label else float("nan"))


def shared_labels(fixed_label: Array, moving_label: Array) -> list[int]:
    """Return the sorted label ids that are in both the fixed and the original moving image, without the background 0.

    Only these measure a registration: no warp can create a label that the moving image does not have.
    Raises ValueError if an array has no integer type.
    Source: the evaluation of Learn2Reg, Hering et al., "Learn2Reg: Comprehensive Multi-Task Medical Image
    Registration Challenge", TMI 2022.
    """
    return sorted(_pixel_counts(fixed_label).keys() & _pixel_counts(moving_label).keys() - {0})


def _pixel_counts(label: Array) -> Counts:
    check_labels(label)
    ids, counts = np.unique(label, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
