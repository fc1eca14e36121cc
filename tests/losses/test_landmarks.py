"""The distance of landmarks, by hand."""

import math

import pytest
import torch

from regstudio.losses import LandmarkDistance, Objective, PointPairs

REACHED = [[[3.0, 4.0], [10.0, 7.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
MOVING = [[[0.0, 0.0], [10.0, 7.0], [90.0, 9.0]], [[1.0, 13.0], [9.0, 9.0], [9.0, 9.0]]]
COUNTED = [[True, True, False], [True, False, False]]


def points(counted: list[list[bool]] = COUNTED) -> PointPairs:
    return PointPairs(
        reached=torch.tensor(REACHED, requires_grad=True), moving=torch.tensor(MOVING), counted=torch.tensor(counted)
    )


def test_it_is_the_mean_distance_of_those_that_count_less_near_zero() -> None:
    expected = sum(math.sqrt(d * d + 0.25) - 0.5 for d in (5, 0, 12)) / 3
    assert LandmarkDistance()(points()).item() == pytest.approx(expected, rel=1e-6)


def test_its_gradient_is_a_pull_of_one_pixel_a_pixel_and_none_on_what_has_arrived() -> None:
    pairs = points()
    LandmarkDistance(soft=1e-3)(pairs).backward()
    assert pairs.reached.grad is not None
    torch.testing.assert_close(pairs.reached.grad[0, 0], torch.tensor([0.6, 0.8]) / 3)
    torch.testing.assert_close(pairs.reached.grad[1, 0], torch.tensor([0.0, -1.0]) / 3)
    assert pairs.reached.grad[0, 1:].count_nonzero() == pairs.reached.grad[1, 1:].count_nonzero() == 0


def test_without_any_it_is_zero() -> None:
    assert LandmarkDistance()(points([[False] * 3] * 2)).item() == 0


def test_it_is_a_named_term_of_the_objective() -> None:
    image, flow = torch.rand(2, 1, 16, 16), torch.zeros(2, 2, 16, 16)
    objective = Objective(ncc_weight=0.0, mse_weight=1.0, grad_weight=0.0, landmark_weight=0.1)
    terms = objective(image, image, flow, flow, landmarks=points())
    assert list(terms) == ["loss", "mse", "landmarks"]
    assert terms["loss"].item() == pytest.approx(0.1 * terms["landmarks"].item())
    assert "landmarks" not in objective(image, image, flow, flow)
