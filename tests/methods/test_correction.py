"""Correction of a transform by landmarks."""

from dataclasses import replace

import numpy as np
import pytest

from regstudio.data.pairs.pair import Pair, pair_of_arrays
from regstudio.errors import DataError
from regstudio.methods.correction import corrected
from regstudio.methods.method import Unregistered
from regstudio.metrics import inverse_consistency, njd, target_registration_error
from regstudio.transforms.transform import Transform


@pytest.fixture
def pair() -> Pair:
    """Blobs, and the same three pixels further down: the landmark terms and the images agree."""
    y, x = np.mgrid[:64, :64]
    fixed = sum(np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 30) for cy, cx in ((20, 20), (40, 44), (44, 18)))
    moving = np.roll(fixed, 3, axis=0)
    found = pair_of_arrays(fixed, moving)
    points = np.array([[20.0, 20.0], [40.0, 44.0]])
    return replace(found, fixed_points=points, moving_points=points + np.array([3.0, 0.0]))


def error(pair: Pair, transform: Transform) -> float:
    assert pair.fixed_points is not None and pair.moving_points is not None
    return float(target_registration_error(pair.fixed_points, pair.moving_points, transform.flow).max())


def test_landmarks_meet_within_half_a_pixel_without_folds(pair: Pair) -> None:
    before = Unregistered()(pair)
    after = corrected(pair, before)
    assert (error(pair, before), njd(after.flow).count) == (3.0, 0)
    assert error(pair, after) < 0.5


def test_what_came_before_is_kept_where_no_landmark_says_more(pair: Pair) -> None:
    flow = np.zeros((2, 64, 64), np.float32)
    flow[0] = 3  # right already
    right = Transform(flow=flow, inverse_flow=-flow, seconds=0.0)
    again = corrected(pair, right)
    assert np.abs(again.flow - flow).max() < 0.3
    assert pair.fixed_points is not None
    wrong = replace(pair, moving_points=pair.fixed_points + np.array([[7.0, 0.0], [3.0, 0.0]]))
    moved = corrected(wrong, right)
    assert error(wrong, moved) < 1
    assert np.abs(moved.flow - flow)[:, 50:, 50:].max() < 0.5  # far from the landmark
    assert moved.inverse_flow is not None
    assert inverse_consistency(moved.flow, moved.inverse_flow) < 0.2


def test_without_landmarks_there_is_nothing_to_correct_by(pair: Pair) -> None:
    with pytest.raises(DataError, match="no landmarks"):
        corrected(replace(pair, fixed_points=None), Unregistered()(pair))
