import os
import threading
from collections.abc import Callable
from itertools import islice

import pytest

from regstudio.config import TrainConfig
from regstudio.runs.catalogue import RunCatalogue
from regstudio.runs.run import create_run
from regstudio.training.setup import check_data
from regstudio.training.trainer import train

Configs = Callable[..., TrainConfig]


def test_runs_are_listed_with_state_and_figures(quick_config: Configs) -> None:
    index = check_data(quick_config()).index
    list(train(quick_config(run_name="whole", batch_size=2), index))
    stop = threading.Event()
    for event in train(quick_config(run_name="stopped"), index, stop=stop):
        if type(event).__name__ == "EpochDone":
            stop.set()
    killed = train(quick_config(run_name="killed"), index)
    list(islice(killed, 3))
    runs_dir = quick_config().run.runs_dir
    (runs_dir / "no run").mkdir()

    summaries = {summary.name: summary for summary in RunCatalogue(runs_dir).summaries()}
    assert summaries["killed"].state == "running"
    killed.close()
    summaries = {summary.name: summary for summary in RunCatalogue(runs_dir).summaries()}
    assert {name: summary.state for name, summary in summaries.items()} == {
        "killed": "interrupted",
        "stopped": "stopped",
        "whole": "finished",
    }
    whole = summaries["whole"]
    assert (whole.epochs_done, whole.epochs) == (2, 2)
    assert whole.best_dice is not None
    assert 0 < whole.best_dice < 1
    assert whole.settings["batch_size"] == 2
    assert "run_name" not in whole.settings
    assert (summaries["stopped"].epochs_done, summaries["killed"].best_dice) == (1, None)


def test_a_damaged_run_is_a_line_that_says_why(quick_config: Configs) -> None:
    runs_dir = quick_config().run.runs_dir
    assert RunCatalogue(runs_dir).summaries() == []
    create_run(quick_config(run_name="bad")).config_path.write_text("{")
    (summary,) = RunCatalogue(runs_dir).summaries()
    assert (summary.name, summary.state) == ("bad", "unreadable")
    assert summary.message.startswith("config.json: is not JSON")


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_the_newest_run_is_first(quick_config: Configs, order: list[str]) -> None:
    for time, name in enumerate(order):
        os.utime(create_run(quick_config(run_name=name)).config_path, (time, time))
    assert [summary.name for summary in RunCatalogue(quick_config().run.runs_dir).summaries()] == order[::-1]
