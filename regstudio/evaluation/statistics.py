"""Descriptive statistics over cases, and the Wilcoxon signed-rank test between two methods."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Description:
    """Statistics of one metric over the cases that have it; None if there are too few of them.

    `std` is the sample standard deviation (n - 1); `worst30` the mean of the worst 30 % of the cases, rounded up.
    """

    count: int
    mean: float | None
    std: float | None
    median: float | None
    worst30: float | None


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """A paired test of two methods: `count` pairs, the median of second - first, and the two-sided p value.

    `p` is 1 if no pair differs, and None if there are no pairs.
    """

    count: int
    median_difference: float | None
    p: float | None


def describe(values: Iterable[float | None], *, higher_is_better: bool) -> Description:
    """Return the statistics of a metric over cases, ignoring missing values and those that are not finite."""
    worst_first = sorted((v for v in values if v is not None and math.isfinite(v)), reverse=not higher_is_better)
    if not worst_first:
        return Description(count=0, mean=None, std=None, median=None, worst30=None)
    worst = worst_first[: -(-3 * len(worst_first) // 10)]
    return Description(
        count=len(worst_first),
        mean=fmean(worst_first),
        std=stdev(worst_first) if len(worst_first) > 1 else None,
        median=median(worst_first),
        worst30=fmean(worst),
    )


def wilcoxon(first: Sequence[float | None], second: Sequence[float | None]) -> PairedTest:
    """Wilcoxon signed-rank test of two methods on the same cases; ignores pairs with a missing value.

    Pairs without a difference are not ranked, as in Wilcoxon's paper. Raises ValueError if the lengths differ.
    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1945; computed by SciPy.
    """
    from scipy import stats  # takes half a second, so import it only for a comparison

    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    differences = np.array([b - a for a, b in pairs if math.isfinite(b - a)])
    if not len(differences):
        return PairedTest(count=0, median_difference=None, p=None)
    p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return PairedTest(count=len(differences), median_difference=float(np.median(differences)), p=p)
