"""What a page is told of a training's progress, speed and time left."""

from dataclasses import replace

import pytest

from regstudio.runs.events import ImageAligned, TrainEvent
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from tests.studio.written_runs import STEPS, Configs, asking, epoch_done, started, step, written


def test_speed_and_time_left(studio: Studio, quick_config: Configs) -> None:
    run = written(studio, started(epochs=3, validation_cases=0), *map(step, range(STEPS)), configs=quick_config)
    lock = run.lock()
    feed = Feed(studio)
    answer = feed.poll({"run": "r"})
    assert answer["state"] == "running"
    assert answer["steps_per_second"] == pytest.approx(10)
    assert answer["seconds_left"] == pytest.approx(20)
    assert answer["memory"]["process"] > 10**6
    run.append(epoch_done(1, 0.5, True))
    answer = feed.poll({"run": "r"})
    assert answer["seconds_left"] == pytest.approx(40)
    assert answer["progress"] == {"epoch": 1, "epochs": 3, "step": 0, "steps": STEPS, "pair": 0, "pairs": 0}
    lock.release()
    answer = feed.poll({"run": "r"})
    assert (answer["state"], answer["seconds_left"], answer["memory"]) == ("interrupted", None, None)


def test_the_alignment_before_the_first_step_is_told_until_that_step(studio: Studio, quick_config: Configs) -> None:
    def aligning(*events: TrainEvent) -> object:
        for event in events:
            run.append(event)
        return feed.poll({"run": "r"})["aligning"]

    def image(number: int) -> ImageAligned:
        return ImageAligned(number=number, total=246, image="a.png")

    run, feed = written(studio, started(), configs=quick_config), Feed(studio)
    assert aligning() is None
    assert aligning(image(1), image(2)) == {"number": 2, "total": 246}
    assert Feed(studio).poll({"run": "r"})["aligning"] == {"number": 2, "total": 246}
    assert not any(isinstance(event, ImageAligned) for event in run.milestones())
    assert aligning(step(0)) is None
    assert aligning(started(step=1, resumed=True), image(1)) == {"number": 1, "total": 246}
    assert aligning(started(step=1, resumed=True)) is None


def test_steps_tell_their_image_scale_and_the_time_left_goes_by_it(studio: Studio, quick_config: Configs) -> None:
    plan = started(epochs=2, validation_cases=0, scale_steps={"2": 150, "1": 50})
    coarse = [replace(step(number), scale=2, seconds=0.1) for number in range(150)]
    run, feed = written(studio, plan, *coarse, configs=quick_config), Feed(studio)
    with run.lock():
        first = feed.poll({"run": "r"})
        run.append(replace(step(150), seconds=0.4))
        second = feed.poll(asking(first))
    assert set(first["steps"]["scale"]) == {2}
    assert first["seconds_left"] == pytest.approx(50 * 0.3)
    assert second["steps"]["scale"] == [1]
    assert (second["seconds_left"], second["steps_per_second"]) == (pytest.approx(49 * 0.4), pytest.approx(2.5))


def test_a_run_shows_progress_within_its_first_epoch(studio: Studio, quick_config: Configs) -> None:
    run = written(studio, started(), configs=quick_config)
    feed = Feed(studio)
    assert feed.within_epoch("r") == ("", 0)
    run.append(ImageAligned(number=3, total=102, image="a"))
    assert feed.within_epoch("r")[0] == "aligning 3 of 102"
    for number in range(4):
        run.append(step(number))
    words, seconds = feed.within_epoch("r")
    assert (words, seconds) == ("step 4 of 100", pytest.approx(0.4))


@pytest.mark.parametrize("saved", [5, 3, 0])
def test_the_time_trained_never_falls_when_a_run_goes_on(studio: Studio, quick_config: Configs, saved: int) -> None:
    run = written(studio, started(), *map(step, range(5)), configs=quick_config)
    feed = Feed(studio)
    before = feed.poll({"run": "r"})["seconds"]
    run.append(started(step=saved, resumed=True))  # a kill loses the steps after the last checkpoint
    assert feed.poll({"run": "r"})["seconds"] == pytest.approx(before)
    run.append(step(saved))
    assert feed.poll({"run": "r"})["seconds"] == pytest.approx(before + 0.1)
    assert Feed(studio).within_epoch("r")[1] == pytest.approx(before + 0.1)
