"""Which results are to be looked at, by their quality."""

import numpy as np
import pytest

from regstudio.transforms.doubtful import doubtful, threshold_of


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 0), (2, 1), (10, 1), (11, 2), (90, 9)])
def test_a_tenth_of_the_results_is_to_be_looked_at(count: int, expected: int) -> None:
    qualities = {str(value): value / 100 for value in np.random.default_rng(0).permutation(count)}
    assert doubtful(qualities) == [str(rank) for rank in range(expected)]


def test_with_a_threshold_all_up_to_it_are() -> None:
    assert doubtful({"a": 0.5, "b": 0.2, "c": 0.3}, threshold=0.3) == ["b", "c"]
    assert doubtful({"a": 0.5}, threshold=0.3) == []
    assert doubtful({"a": 0.1}, threshold=0.3) == ["a"]


def test_a_threshold_finds_four_of_five_of_the_worst_tenth() -> None:
    scores = np.linspace(0.5, 1, 50)
    qualities = scores.copy()
    qualities[:5] = 0.3, 0.1, 0.9, 0.2, 0.4  # one of the five worst looks good
    assert threshold_of(qualities, scores) == 0.4
    assert threshold_of(qualities[:10], scores[:10]) == 0.3  # of ten, the worst one
    assert threshold_of(qualities[:9], scores[:9]) is None


def test_a_landmark_error_counts_by_its_negative() -> None:
    errors = np.arange(20.0)
    assert threshold_of(1 / (1 + errors), -errors) == pytest.approx(1 / 19)
