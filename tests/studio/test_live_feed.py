import base64
import io
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regstudio.config import TrainConfig
from regstudio.runs.curves import MAX_POINTS, thinned
from regstudio.runs.events import EpochDone, ImageAligned, RunFinished, RunStarted, StepDone, TrainEvent
from regstudio.runs.run import Run, create_run
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.studio.training_control import headline
from regstudio.training.setup import check_data
from regstudio.training.trainer import train
from tests.hostile import headers

Configs = Callable[..., TrainConfig]
STEPS = 100


def started(**values: Any) -> RunStarted:
    usual = {"epochs": 300, "steps_per_epoch": STEPS, "epoch": 0, "step": 0, "resumed": False}
    facts = {"run": "x", "device": "cpu (1 thread)", "parameters": 1, "train_cases": 100, "validation_cases": 2}
    return RunStarted(**{**facts, **usual, **values})


def step(number: int, loss: float = 0.5) -> StepDone:
    epoch, place = divmod(number, STEPS)
    return StepDone(epoch=epoch + 1, step=place + 1, losses={"loss": loss, "ncc": -0.5, "grad": 0.1}, seconds=0.1)


def epoch_done(number: int, dice: float, best: bool) -> EpochDone:
    return EpochDone(epoch=number, epochs=300, seconds=20.0, losses={"loss": 1.0}, metrics={"dice": dice}, best=best)


def written(studio: Studio, *events: TrainEvent, name: str = "r", configs: Configs) -> Run:
    run = create_run(configs(run_name=name, runs_dir=studio.runs_dir))
    for event in events:
        run.append(event)
    return run


def asking(answer: dict[str, Any], run: str = "r") -> dict[str, Any]:
    return {"run": run, "version": answer["version"], **answer["counts"]}


def test_with_no_training_the_feed_is_idle(studio: Studio) -> None:
    assert Feed(studio).poll({"run": None}) == {"run": None, "state": "idle"}


@pytest.mark.parametrize(
    "request_", [None, [], {"run": 3}, {"steps": "x", "log": -1, "epochs": None}, {"run": "../.."}, {"run": "none"}]
)
def test_a_strange_request_is_answered(studio: Studio, request_: object) -> None:
    answer = Feed(studio).poll(request_)
    assert answer["state"] == "idle"
    assert "error" in Feed(studio).preview(request_)


def test_only_what_is_new_is_told(studio: Studio, quick_config: Configs) -> None:
    run = written(studio, started(), *map(step, range(3)), configs=quick_config)
    run.log("one")
    feed = Feed(studio)
    first = feed.poll({"run": "r"})
    assert first["reset"]
    assert first["steps"]["x"] == [1, 2, 3]
    assert first["steps"]["terms"]["ncc"] == [-0.5] * 3
    assert [line.split("  ")[1] for line in first["log"]] == ["one"]
    for event in (step(3), epoch_done(1, 0.7, True)):
        run.append(event)
    second = feed.poll(asking(first))
    assert not second["reset"]
    assert second["steps"]["x"] == [4]
    assert second["log"] == []
    assert second["epochs"][0]["metrics"] == {"dice": 0.7}
    assert second["best"] == {"epoch": 1, "dice": 0.7, "tre": None}
    third = feed.poll(asking(second))
    assert (third["steps"]["x"], third["epochs"]) == ([], [])


def test_a_run_that_takes_back_steps_is_told_anew(studio: Studio, quick_config: Configs) -> None:
    run = written(studio, started(), *map(step, range(50)), configs=quick_config)
    feed = Feed(studio)
    before = feed.poll({"run": "r"})
    run.append(started(step=10, resumed=True))
    for event in (step(number, loss=0.25) for number in range(10, 90)):
        run.append(event)
    after = feed.poll(asking(before))
    assert after["reset"]
    assert after["steps"]["x"] == list(range(1, 91))
    assert after["steps"]["terms"]["loss"][9:11] == [0.5, 0.25]


def test_a_cursor_beyond_what_there_is_starts_over(studio: Studio, quick_config: Configs) -> None:
    written(studio, started(), *map(step, range(5)), configs=quick_config)
    feed = Feed(studio)
    first = feed.poll({"run": "r"})
    again = feed.poll({**asking(first), "steps": 99})
    assert again["reset"]
    assert len(again["steps"]["x"]) == 5


def test_a_poll_of_a_long_run_takes_no_longer_than_its_new_events(studio: Studio, quick_config: Configs) -> None:
    def poll(request: object) -> tuple[dict[str, Any], float]:
        started = time.thread_time()
        return feed.poll(request), time.thread_time() - started

    run = written(studio, started(), configs=quick_config)
    with run.events_path.open("a") as file:
        for number in range(20_000):
            record = {"event": "StepDone", "epoch": number // 100 + 1, "step": number % 100 + 1, "seconds": 0.1}
            file.write(json.dumps({**record, "losses": {"loss": math.sin(number), "ncc": None, "grad": 0.1}}) + "\n")
    feed = Feed(studio)
    first, whole = poll({"run": "r"})
    assert 100 < len(first["steps"]["x"]) <= MAX_POINTS + 2
    json.dumps(first, allow_nan=False)
    run.append(step(20_000))
    second, new = poll(asking(first))
    third, nothing = poll(asking(second))
    assert (second["steps"]["x"], third["steps"]["x"]) == ([20_001], [])
    assert max(new, nothing) < whole / 10, f"{whole:.3f} s, then {new:.3f} s and {nothing:.3f} s"


@pytest.mark.parametrize("total", [1, 999, 1000, 1001, 1777, 20_000])
def test_thinning_keeps_every_extreme_and_the_ends(total: int) -> None:
    columns = np.random.default_rng(total).normal(size=(3, total))
    columns[1, total // 2] = 100
    columns[2, total // 3] = -100
    columns[0, ::7] = np.nan
    places = thinned(columns, 1000)
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, total - 1)
    assert len(places) <= 1002
    assert {total // 2, total // 3} <= set(places)


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


def test_a_failure_says_why_and_what_to_do(studio: Studio, quick_config: Configs) -> None:
    written(studio, started(), RunFinished(reason="failed", message="No memory."), configs=quick_config)
    answer = Feed(studio).poll({"run": "r"})
    assert (answer["state"], answer["message"]) == ("failed", "No memory.")
    assert "press Start" in answer["advice"]


def test_a_real_run_and_its_previews(studio: Studio, quick_config: Configs) -> None:
    config = quick_config(run_name="r", runs_dir=studio.runs_dir)
    list(train(config, check_data(config).index))
    feed = Feed(studio)
    answer = feed.poll({"run": "r"})
    assert (answer["state"], answer["previews"], answer["progress"]["epoch"]) == ("finished", [1, 2], 2)
    json.dumps(answer, allow_nan=False)
    pictures = feed.preview({"run": "r", "epoch": 2})["pictures"]
    assert set(pictures) == {"before", "after", "grid", "labels_before", "labels_after"}
    for uri in pictures.values():
        with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
            assert picture.size == (384, 384)
    assert "epoch 3" in feed.preview({"run": "r", "epoch": 3})["error"]


def test_previews_that_would_take_minutes_or_are_none_are_refused_at_once(
    studio: Studio, quick_config: Configs
) -> None:
    run = written(studio, started(), configs=quick_config)
    run.pair_path.parent.mkdir(exist_ok=True)
    headers.npz_preview(run.pair_path, side=12_000)
    headers.npz_preview(run.preview_path(1), side=8)
    assert "unpacks to more than" in Feed(studio).preview({"run": "r", "epoch": 1})["error"]
    run.pair_path.write_bytes(b"no archive")
    assert "cannot be read as .npz" in Feed(studio).preview({"run": "r", "epoch": 1})["error"]


def test_a_run_made_anew_under_the_same_name_is_another(studio: Studio, quick_config: Configs, tmp_path: Path) -> None:
    run = written(studio, started(), *map(step, range(5)), configs=quick_config)
    feed = Feed(studio)
    before = feed.poll({"run": "r"})
    run.path.rename(tmp_path / "trash")
    written(studio, started(), step(0), configs=quick_config)
    after = feed.poll(asking(before))
    assert after["reset"]
    assert after["steps"]["x"] == [1]


def test_many_pages_may_poll_at_once(studio: Studio, quick_config: Configs) -> None:
    run = written(studio, started(), configs=quick_config)
    feed = Feed(studio)
    seen: dict[int, list[int]] = {}

    def watch(page: int) -> None:
        answer = feed.poll({"run": "r"})
        steps = list(answer["steps"]["x"])
        while len(steps) < 200:
            answer = feed.poll(asking(answer))
            steps += answer["steps"]["x"]
        seen[page] = steps

    pages = [threading.Thread(target=watch, args=(page,)) for page in range(4)]
    for page in pages:
        page.start()
    for number in range(200):
        run.append(step(number))
    for page in pages:
        page.join(30)
    assert seen == {page: list(range(1, 201)) for page in range(4)}


def test_a_run_of_another_program_is_followed_and_stays_when_it_ends(studio: Studio, quick_config: Configs) -> None:
    run, feed = written(studio, started(), step(0), name="terminal", configs=quick_config), Feed(studio)
    assert feed.poll({"run": None})["run"] is None
    lock = run.lock()
    answer = feed.poll({"run": None})
    assert (answer["run"], answer["state"], answer["steps"]["x"]) == ("terminal", "running", [1])
    assert headline(studio) == "terminal is being trained by another program"
    run.append(RunFinished(reason="stopped", message="Stopped."))
    lock.release()
    assert feed.poll({"run": None})["state"] == "stopped"
    assert headline(studio) == "Nothing is training."


def test_the_own_training_is_shown_before_those_of_other_programs(studio: Studio, quick_config: Configs) -> None:
    other, feed = written(studio, started(), name="other", configs=quick_config), Feed(studio)
    with other.lock():
        config = quick_config(run_name="own", runs_dir=studio.runs_dir, epochs=50)
        studio.job.start(config, check_data(config).index)
        assert feed.poll({"run": None})["run"] == "own"
        studio.job.stop()
        assert studio.job.join(60)
        assert feed.poll({"run": None})["run"] == "other"


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


@pytest.mark.parametrize(
    ("weights", "floor"), [({"mi_weight": 1.0}, -4.47), ({"global_ncc_weight": 0.5, "ncc_weight": 2.0}, -2.5)]
)
def test_a_logarithmic_axis_has_room_for_all_negative_terms(
    studio: Studio, quick_config: Configs, weights: dict[str, float], floor: float
) -> None:
    run = create_run(quick_config(run_name="r", runs_dir=studio.runs_dir, **weights))
    run.append(started())
    floors = Feed(studio).poll({"run": "r"})["floor"]
    assert floors["loss"] == pytest.approx(floor)
    assert floors["mi"] <= -math.log(32)


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


def test_the_page_says_in_its_own_words_what_is_seen_in_a_run(studio: Studio, quick_config: Configs) -> None:
    run = written(studio, started(epochs=3), configs=quick_config)
    feed = Feed(studio)
    assert feed.poll({"run": "r"})["findings"] == []
    for number in (1, 2, 3):
        metrics = {"dice": 0.5, "dice_before": 0.5}
        run.append(replace(epoch_done(number, 0.5, False), metrics=metrics))
    (found,) = feed.poll({"run": "r"})["findings"]
    assert found["seen"].startswith("Nothing is learned: after 3 epochs")
    assert "“load model” general" in found["remedy"]
    assert "--" not in found["remedy"]
