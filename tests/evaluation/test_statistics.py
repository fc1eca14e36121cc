"""Statistics by hand and against SciPy's own tables."""

import math

import pytest
from scipy import stats

from regstudio.evaluation.statistics import Description, PairedTest, describe, wilcoxon

VALUES = [0.9, 0.5, 0.7, 0.6, 0.8, 0.95, 0.85]


def test_a_description_by_hand() -> None:
    # 30 % of 7 cases is 2.1, rounded up to 3.
    high, low = describe(VALUES, higher_is_better=True), describe(VALUES, higher_is_better=False)
    assert high.mean == pytest.approx(5.3 / 7)
    assert high.median == 0.8
    assert high.worst30 == pytest.approx((0.5 + 0.6 + 0.7) / 3)
    assert low.worst30 == pytest.approx((0.95 + 0.9 + 0.85) / 3)
    squares = sum((value - 5.3 / 7) ** 2 for value in VALUES)
    assert high.std == low.std == pytest.approx(math.sqrt(squares / 6))


@pytest.mark.parametrize(("cases", "worst"), [(1, 1), (3, 1), (4, 2), (10, 3), (50, 15), (110, 33)])
def test_the_worst_thirty_percent_are_rounded_up(cases: int, worst: int) -> None:
    described = describe([float(n) for n in range(cases)], higher_is_better=True)
    assert described.worst30 == pytest.approx((worst - 1) / 2)


def test_what_is_not_there_is_left_out() -> None:
    assert describe([None, 0.5, math.nan, math.inf], higher_is_better=True) == Description(
        count=1, mean=0.5, std=None, median=0.5, worst30=0.5
    )
    assert describe([None, math.nan], higher_is_better=True).mean is None


def test_wilcoxon_of_a_table() -> None:
    # Ranks of the negative differences: 1 and 3, so W = 4; of the 2^6 sign patterns of 6 ranks, 7 have a sum of at most
    # 4 (none, 1, 2, 3, 4, 1 + 2, 1 + 3): p = 2 * 7 / 64.
    differences = [-1.0, 2.0, -3.0, 4.0, 5.0, 6.0]
    test = wilcoxon([10.0] * 6, [10 + difference for difference in differences])
    assert test == PairedTest(count=6, median_difference=3.0, p=pytest.approx(14 / 64))


def test_wilcoxon_equals_scipy_and_leaves_out_pairs_that_lack_a_value() -> None:
    first, second = VALUES, [value + 0.01 * (number - 2) for number, value in enumerate(VALUES)]
    expected = stats.wilcoxon(second, first).pvalue
    assert wilcoxon([*first, None, 0.5, math.nan], [*second, 0.5, None, 0.5]).p == pytest.approx(expected)
    assert wilcoxon(first, second).p == wilcoxon(second, first).p


def test_wilcoxon_where_nothing_differs_or_nothing_is_there() -> None:
    assert wilcoxon(VALUES, VALUES) == PairedTest(count=7, median_difference=0.0, p=1.0)
    assert wilcoxon([None], [0.5]) == PairedTest(count=0, median_difference=None, p=None)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        wilcoxon(VALUES, VALUES[1:])
