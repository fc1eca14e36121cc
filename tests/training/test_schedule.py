"""Schedules against closed forms."""

import math
from collections import Counter

import pytest
import torch

from regstudio.config import TrainConfig, build_config, extend_epochs
from regstudio.training.schedule import Schedule
from regstudio.training.setup import build_learner


def test_by_default_nothing_changes() -> None:
    schedule = Schedule(total=10, lr=0.5)
    assert {schedule.learning_rate(step) for step in range(10)} == {0.5}
    assert {schedule.scale(step) for step in range(10)} == {1}


def test_the_warm_up_is_a_straight_rise() -> None:
    schedule = Schedule(total=100, lr=1.0, warmup_steps=4)
    assert [schedule.learning_rate(step) for step in range(7)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])


def test_the_cosine_falls_to_a_fiftieth() -> None:
    schedule = Schedule(total=1000, lr=0.1, lr_schedule="cosine")
    assert schedule.learning_rate(0) == pytest.approx(0.1)
    assert schedule.learning_rate(500) == pytest.approx(0.1 * (1 + 1 / 50) / 2)
    assert schedule.learning_rate(250) == pytest.approx(0.1 * (0.02 + 0.98 * (1 + math.sqrt(0.5)) / 2))
    assert schedule.learning_rate(1000) == schedule.learning_rate(1500) == pytest.approx(0.1 / 50)
    rates = [schedule.learning_rate(step) for step in range(1000)]
    assert rates == sorted(rates, reverse=True)


def test_epochs_that_are_added_go_on_at_the_rate_that_the_cosine_ended_with() -> None:
    config = build_config({"epochs": 4, "lr": 1e-3, "lr_schedule": "cosine"})
    before = build_learner(config, steps_per_epoch=10, device=torch.device("cpu")).schedule
    for epochs in (3, 8):
        config = extend_epochs(config, epochs)  # and again
        after = build_learner(config, steps_per_epoch=10, device=torch.device("cpu")).schedule
        assert [after.learning_rate(step) for step in range(40)] == [before.learning_rate(step) for step in range(40)]
    assert [after.learning_rate(step) for step in range(40, 80)] == pytest.approx([1e-3 / 50] * 40)


def test_warm_up_and_cosine_multiply() -> None:
    both = Schedule(total=100, lr=1.0, lr_schedule="cosine", warmup_steps=9)
    fall = Schedule(total=100, lr=1.0, lr_schedule="cosine")
    for step in (0, 5, 9, 40):
        assert both.learning_rate(step) == pytest.approx(min(1, (step + 1) / 10) * fall.learning_rate(step))


@pytest.mark.parametrize(
    ("start", "share", "expected"),
    [
        (4, 0.8, {4: 40, 2: 40, 1: 20}),
        (8, 0.6, {8: 20, 4: 20, 2: 20, 1: 40}),
        (2, 0.5, {2: 50, 1: 50}),
        (4, 1.0, {4: 50, 2: 50}),
        (4, 0.0, {1: 100}),
        (1, 0.8, {1: 100}),
    ],
)
def test_each_scale_has_its_share_of_the_steps(start: int, share: float, expected: dict[int, int]) -> None:
    schedule = Schedule(total=100, lr=1.0, start_scale=start, coarse_share=share)
    scales = [schedule.scale(step) for step in range(100)]
    assert Counter(scales) == expected
    assert scales == sorted(scales, reverse=True)
    assert schedule.scale(100) == 1


@pytest.mark.parametrize("total", [1, 2, 3, 7, 333])
def test_any_number_of_steps_has_scales_that_are_powers_of_two(total: int) -> None:
    schedule = Schedule(total=total, lr=1.0, start_scale=8, coarse_share=0.7)
    assert {schedule.scale(step) for step in range(total + 1)} <= {8, 4, 2, 1}
    assert schedule.scale(0) == 8


def test_the_defaults_are_the_configurations() -> None:
    settings, plain = TrainConfig().optimisation, Schedule(total=1, lr=1.0)
    for name in ("lr_schedule", "warmup_steps", "start_scale"):
        assert getattr(plain, name) == getattr(settings, name)
