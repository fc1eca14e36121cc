"""Which results a person should look at, by their quality (see regstudio.transforms.quality).

How low a quality is low differs from images to images. Where a network was validated with labels, the quality that most
of its bad results do not exceed is known; elsewhere the lowest tenth are to be looked at.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np

WORST, FOUND = 0.1, 0.8  # a threshold holds this share of the worst share of the results it was fitted to
MIN_FITTED = 10  # results; the worst tenth of fewer says nothing


def threshold_of(qualities: Sequence[float], scores: Sequence[float]) -> float | None:
    """Return the quality that most of the worst results do not exceed: FOUND of the WORST share by their scores.

    A higher score is better: a Dice, or a landmark error's negative. None for fewer than MIN_FITTED results.
    """
    if len(scores) < MIN_FITTED:
        return None
    worst = np.argsort(scores, kind="stable")[: ceil(WORST * len(scores))]
    return float(np.sort(np.asarray(qualities)[worst])[ceil(FOUND * len(worst)) - 1])


def doubtful(qualities: Mapping[str, float], threshold: float | None = None) -> list[str]:
    """Return the names of the results to look at, lowest quality first: those up to a threshold.

    Without a threshold, they are the lowest tenth; a single result has none to be compared with.
    """
    names = sorted(qualities, key=qualities.__getitem__)
    if threshold is not None:
        return [name for name in names if qualities[name] <= threshold]
    return names[: ceil(WORST * len(names))] if len(names) > 1 else []
