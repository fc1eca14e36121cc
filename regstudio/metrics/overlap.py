"""Overlap of label images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from regstudio.metrics.shapes import Array, check_labels, check_same_shape

Counts = dict[int, int]


@dataclass(frozen=True, kw_only=True)
class DiceScore:
    """Dice of each scored label, in [0, 1], and their unweighted mean (nan if no label was scored)."""

    per_label: dict[int, float]
    mean: float


def dice(fixed_label: Array, warped_label: Array, labels: Iterable[int] | None = None) -> DiceScore:
    """Overlap of two label images, 2 |A and B| / (|A| + |B|), for each label and on average.

    Both are integer arrays of one shape. By default every label but the background, 0, is scored; `labels` names the
    ones to score instead (0 too, if it is named). A label absent from both images is left out; one absent from only
    one of them counts 0. If nothing is left to score, `per_label` is empty and the mean is nan.

    Raises ValueError if the shapes differ or an array holds no integers.
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
    """Return the ids, in order and without the background 0, that both a fixed and an original moving image have.

    Only these say how well a registration did: no warp can bring forth a label that the moving image lacks.
    Raises ValueError if an array holds no integers.
    Source: the evaluation of Learn2Reg, Hering et al., "Learn2Reg: Comprehensive Multi-Task Medical Image
    Registration Challenge", TMI 2022.
    """
    return sorted(_pixel_counts(fixed_label).keys() & _pixel_counts(moving_label).keys() - {0})


def _pixel_counts(label: Array) -> Counts:
    check_labels(label)
    ids, counts = np.unique(label, return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
