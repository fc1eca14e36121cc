"""What a page is told of a run: all at first, then what is new."""

import base64
import io
import json
import math
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regstudio.runs.curves import MAX_POINTS
from regstudio.runs.events import RunFinished
from regstudio.runs.run import create_run
from regstudio.studio.live_feed import Feed
from regstudio.studio.studio import Studio
from regstudio.studio.training_control import headline
from regstudio.training.setup import check_data
from regstudio.training.trainer import train
from tests.hostile import headers
from tests.studio.written_runs import Configs, asking, epoch_done, started, step, written


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


def test_any_run_can_be_watched_by_its_time_and_the_runs_are_named_when_asked(
    studio: Studio, quick_config: Configs
) -> None:
    run = written(studio, started(), *map(step, range(3)), configs=quick_config)
    written(studio, started(), name="other", configs=quick_config)
    feed = Feed(studio)
    first = feed.poll({"run": "r", "list": True})
    assert set(first["runs"]) == {"r", "other"}
    assert first["steps"]["seconds"] == pytest.approx([0.1, 0.2, 0.3])
    run.append(step(3))
    second = feed.poll(asking(first))
    assert "runs" not in second
    assert second["steps"]["seconds"] == pytest.approx([0.4])
    assert feed.poll({"run": "other", "list": 1}).get("runs") is None
    assert set(feed.poll({"run": None, "list": True})["runs"]) == {"r", "other"}
