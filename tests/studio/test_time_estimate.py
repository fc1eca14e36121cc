from collections.abc import Callable

import pytest

from regstudio.config import TrainConfig
from regstudio.runs.time_left import Speeds
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.studio.time_estimate import MEASURING, Estimator, in_words, speeds_key
from regstudio.training import calibration
from regstudio.training import duration as measuring
from regstudio.training.duration import STEPS, NotMeasuredError, duration, measure, steps_per_epoch
from regstudio.training.setup import Parts
from tests.studio.written_runs import started, step, written
from tests.training.whole_training import QUICK, index_of

Configs = Callable[..., TrainConfig]


SPEEDS = Speeds(steps={1: 1.0, 2: 0.25}, validation=10, epoch=1, before=20, after=30, images=100, size=(64, 64))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"epochs": 2}, 20 + 200 + 2 * 11 + 30),
        ({"epochs": 2, "batch_size": 3}, 20 + 66 + 2 * 11 + 30),
        ({"epochs": 4, "validation_freq": 2}, 20 + 400 + 2 * 10 + 4 + 30),
        ({"epochs": 3, "total_steps": 150}, 20 + 150 + 3 * 11 + 30),
        ({"epochs": 2, "start_scale": 2, "coarse_share": 0.5}, 20 + 100 * 0.25 + 100 + 2 * 11 + 30),
        # Images of 64 pixels are not made smaller than half.
        ({"epochs": 2, "start_scale": 4, "coarse_share": 1.0}, 20 + 200 * 0.25 + 2 * 11 + 30),
    ],
)
def test_the_time_of_a_training_is_that_of_its_parts(
    values: dict[str, object], expected: float, quick_config: Configs
) -> None:
    assert duration(quick_config(**values), SPEEDS) == pytest.approx(expected)


def test_each_part_is_measured_and_counted(quick_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def one_second(parts: Parts, call: Callable[[], object]) -> float:
        timed.append(call())
        return 1.0

    monkeypatch.setattr(measuring, "_seconds", one_second)
    config = quick_config(start_scale=2, batch_size=2)
    speeds = measure(config, index_of(config))
    steps = [value for value in timed if isinstance(value, dict)]
    assert all(losses["loss"] < 0 for losses in steps)
    assert speeds.steps.keys() == {1}  # images of 48 pixels are not halved
    assert len(steps) == 1 + STEPS
    assert speeds.validation in (1.0, 2.0)  # both images at once, or one after the other
    assert (speeds.epoch, speeds.before, speeds.after) == (1.0, 0.0, 0.0)
    assert (speeds.images, speeds.size) == (4, (48, 48))
    assert steps_per_epoch(config, speeds.images) == 2


@pytest.mark.slow
def test_what_comes_after_the_last_step_is_counted(quick_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def one_second(parts: Parts, call: Callable[[], object]) -> float:
        timed.append(call())
        return 1.0

    monkeypatch.setattr(measuring, "_seconds", one_second)
    config = quick_config(compare=True)
    assert measure(config, index_of(config)).after == 2.0  # both images compared, but too few to be judged
    monkeypatch.setattr(calibration, "MIN_FITTED", 2)
    assert measure(config, index_of(config)).after in (2.0 + 1.0, 2.0 + 2.0)  # compared, and judged
    (ways, *_) = timed[-1]  # type: ignore[misc]
    assert len(ways) == 2  # refined, and as predicted
    assert all(0 <= number <= 1 for quality_and_dice in ways for number in quality_and_dice)


def test_a_measurement_ends_when_it_is_told_to(quick_config: Configs) -> None:
    config = quick_config()
    with pytest.raises(NotMeasuredError):
        measure(config, index_of(config), lambda: False)


def test_it_is_measured_once_for_the_same_settings_and_not_while_the_machine_trains(
    studio: Studio, quick_config: Configs
) -> None:
    calls: list[int] = []

    def measured(*_: object) -> Speeds:
        calls.append(1)
        return SPEEDS

    estimator = Estimator(studio, settled=0, measure=measured)
    config = studio.workspace("tab").change_settings({**QUICK, "epochs": 2})
    estimator.ask("tab", config)
    assert estimator.words("tab") == ""  # the settings are not in view
    estimator.show("tab")
    assert estimator.words("tab") == MEASURING
    estimator.join()
    assert estimator.words("tab") == "Takes about 5 min on this machine."
    longer = studio.workspace("tab").change_settings({"epochs": 200, "lr": 1.0, "grad_weight": 3})
    estimator.ask("tab", longer)
    assert estimator.words("tab") == "Takes about 6.2 h on this machine."
    assert estimator.speeds(config) == SPEEDS
    assert calls == [1]
    estimator.ask("tab", None)
    assert estimator.words("tab") == ""
    estimator.ask("tab", quick_config(batch_size=2))
    assert estimator.words("tab") == MEASURING
    estimator.join()
    assert calls == [1, 1]


def test_settings_that_still_change_are_not_measured(studio: Studio, quick_config: Configs) -> None:
    calls: list[int] = []
    estimator = Estimator(studio, settled=1000, measure=lambda *_: calls.append(1) or SPEEDS)
    estimator.show("tab")
    estimator.ask("tab", quick_config(batch_size=4))
    assert estimator.words("tab") == MEASURING
    estimator.join()
    assert not calls


def test_the_time_left_of_a_run_begins_with_what_was_measured(studio: Studio, quick_config: Configs) -> None:
    asked = []
    feed = Feed(studio, lambda config: asked.append(config) or SPEEDS)
    run = written(studio, started(epochs=2), step(0), configs=quick_config)
    with run.lock():
        assert feed.poll({"run": "r"})["seconds_left"] == pytest.approx(199 * 0.1 + 2 * 11 + 30)
    assert speeds_key(asked[0]) == speeds_key(quick_config())


def test_times_are_told_no_more_exactly_than_they_are_known() -> None:
    assert [in_words(seconds) for seconds in (1, 63, 130, 5000, 9000)] == ["5 s", "65 s", "2 min", "83 min", "2.5 h"]


def test_what_cannot_be_measured_is_not_tried_again_and_again(studio: Studio) -> None:
    calls = []

    def broken(*_: object) -> Speeds:
        calls.append(1)
        raise ValueError("boom")

    estimator = Estimator(studio, settled=0, measure=broken)
    estimator.show("tab")
    estimator.ask("tab", studio.workspace("tab").config)
    for expected in (MEASURING, "", ""):
        assert estimator.words("tab") == expected
        estimator.join()
    assert calls == [1]
