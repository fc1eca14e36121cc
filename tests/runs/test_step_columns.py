import json
import math

import numpy as np
import pytest

from regstudio.runs.events import RunStarted
from regstudio.runs.step_columns import MAX_TERMS, StepColumns
from regstudio.runs.time_left import VALIDATED, Speeds, seconds_left, seconds_per_step


def record(number: int, **values: object) -> dict[str, object]:
    usual = {"epoch": number // 10 + 1, "step": number % 10 + 1, "losses": {"loss": number / 2}, "seconds": 0.5}
    return {"event": "StepDone", **usual, **values}


def line(number: int, **values: object) -> bytes:
    return json.dumps(record(number, **values)).encode()


def test_steps_become_columns() -> None:
    columns = StepColumns()
    assert columns.add_lines([line(n) for n in range(3000)]) == 3000
    assert columns.add([record(3000, losses={"loss": None, "grad": 2}, scale=4)]) == 1
    assert columns.number("step")[[0, 1, 3000]].tolist() == [1, 2, 1]
    assert columns.number("scale")[[0, 3000]].tolist() == [1, 4]
    loss, grad = columns.terms().values()
    assert loss[:4].tolist() == [0, 0.5, 1, 1.5]
    assert math.isnan(loss[3000])
    assert np.isnan(grad[:3000]).all()
    assert grad[3000] == 2
    assert columns.terms(2999)["loss"].tolist()[0] == 1499.5


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"3",
        b'{"event": "StepDone"}',
        b"[" * 5000,
        line(1, epoch="1"),
        line(1, losses=None),
        line(1, losses={"loss": "1"}),
        line(1, seconds=math.inf),
        line(1, step=-1),
        line(1, scale=3),
        line(1, epoch=10**400),
    ],
)
def test_damaged_steps_are_skipped_alone(bad: bytes) -> None:
    columns = StepColumns()
    assert columns.add_lines([line(0), line(1), bad, line(2)]) == 3
    assert columns.terms()["loss"].tolist() == [0, 0.5, 1]


def test_a_record_with_more_terms_than_a_loss_has_takes_no_memory() -> None:
    columns = StepColumns()
    added = columns.add_lines([line(n, losses={f"t{n}": 1.0}) for n in range(1000)])
    assert added == len(columns.terms()) <= MAX_TERMS


def test_steps_that_a_resume_repeats_are_dropped() -> None:
    columns = StepColumns()
    columns.add([record(n, losses={"loss": 1.0, "mi": 1.0}) for n in range(25)])
    columns.truncate(1, 3)
    assert columns.count == 13
    columns.add([record(13)])
    assert columns.number("step").tolist()[-2:] == [3, 4]
    assert math.isnan(columns.terms()["mi"][-1])


def started(**values: object) -> RunStarted:
    facts = {"run": "x", "device": "cpu", "parameters": 1, "train_cases": 1, "validation_cases": 0, "step": 0}
    usual = {"epochs": 10, "steps_per_epoch": 100, "epoch": 0, "resumed": False}
    return RunStarted(**{**facts, **usual, **values})  # type: ignore[arg-type]


PLAN = {"4": 400, "2": 400, "1": 200}


@pytest.mark.parametrize(
    ("done", "speeds", "expected"),
    [
        (500, {4: 0.1, 2: 0.3}, 300 * 0.3 + 200 * 0.9),  # the finest one as much slower as the one before
        (900, {4: 0.1, 2: 0.3, 1: 1.5}, 100 * 1.5),
        (100, {4: 0.1}, 300 * 0.1 + 400 * 0.3 + 200 * 0.9),
        (500, {4: 0.1, 2: 4.0}, 300 * 4 + 200 * 16),  # four times the pixels take at most four times as long
        (1000, {1: 1.0}, 0),
    ],
)
def test_time_left_counts_each_image_scale_at_its_own_speed(
    done: int, speeds: dict[int, float], expected: float
) -> None:
    progress = {"epoch": done // 100, "step": done % 100}
    assert seconds_left(started(scale_steps=PLAN), progress, speeds, []) == pytest.approx(expected)


def test_time_left_counts_validations_and_runs_of_older_versions() -> None:
    assert seconds_left(started(), {"epoch": 4, "step": 0}, {1: 2.0}, [5.0, 15.0]) == 600 * 2 + 6 * 10


def test_time_left_counts_the_first_validation_as_measured_before_or_guessed() -> None:
    begun, progress = started(epochs=2, validation_cases=50), {"epoch": 0, "step": 50, "pair": 0, "pairs": 50}
    assert seconds_left(begun, progress, {1: 2.0}, []) == pytest.approx(150 * 2 + 2 * 50 * VALIDATED * 2)
    before = Speeds(steps={1: 9.0}, validation=10, epoch=1, before=5, after=7, images=100, size=(64, 64))
    assert seconds_left(begun, progress, {1: 2.0}, [], before) == 150 * 2 + 2 * 11 + 7
    assert seconds_left(begun, progress, {1: 2.0}, [20.0], before) == 150 * 2 + 2 * 20 + 7
    half = {"epoch": 0, "step": 100, "pair": 25, "pairs": 50}
    assert seconds_left(begun, half, {1: 2.0}, [], before) == 100 * 2 + 1.5 * 11 + 7
    assert seconds_left(started(scale_steps=PLAN), {"epoch": 9, "step": 0}, {4: 1.0}, [], before) == 100 * 9 + 11 + 7


def test_the_speed_of_each_scale_is_that_of_its_last_steps() -> None:
    scales = np.array([4.0] * 100 + [1.0] * 60)
    seconds = np.array([9.0] * 50 + [0.5] * 50 + [7.0] * 10 + [2.0] * 50)
    assert seconds_per_step(scales, seconds) == {1: 2.0, 4: 0.5}
