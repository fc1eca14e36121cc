"""What the figures of many cases come to, and whether two methods differ on the same cases."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Description:
    """One metric over the cases that have it: None where there are too few of them.

    `std` is the sample standard deviation (n - 1); `worst30` the mean of the worst 30 % of the cases, rounded up.
    """

    count: int
    mean: float | None
    std: float | None
    median: float | None
    worst30: float | None


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """Two methods on the same cases: `count` pairs, the median of second - first, and the two-sided p value.

    `p` is 1 where no pair differs, and None where there is no pair.
    """

    count: int
    median_difference: float | None
    p: float | None


def describe(values: Iterable[float | None], *, higher_is_better: bool) -> Description:
    """Sum up a metric over cases, of which those without a finite value are left out."""
    there = sorted((v for v in values if v is not None and math.isfinite(v)), reverse=not higher_is_better)
    if not there:
        return Description(count=0, mean=None, std=None, median=None, worst30=None)
    worst = there[: -(-3 * len(there) // 10)]
    return Description(
        count=len(there),
        mean=fmean(there),
        std=stdev(there) if len(there) > 1 else None,
        median=median(there),
        worst30=fmean(worst),
    )


def wilcoxon(first: Sequence[float | None], second: Sequence[float | None]) -> PairedTest:
    """Test with Wilcoxon's signed ranks whether two methods differ, case by case; pairs that lack a value are left out.

    Pairs without a difference are left out of the ranks, as Wilcoxon did. Raises ValueError if the lengths differ.
    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics Bulletin 1945; computed by SciPy.
    """
    from scipy import stats  # half a second that only a comparison is worth

    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    differences = np.array([b - a for a, b in pairs if math.isfinite(b - a)])
    if not len(differences):
        return PairedTest(count=0, median_difference=None, p=None)
    p = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return PairedTest(count=len(differences), median_difference=float(np.median(differences)), p=p)
