import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.config import TrainConfig
from regstudio.errors import ConfigError, DataError, DeviceError, RunError
from regstudio.runs.events import RunStarted, StepDone
from regstudio.studio import training_control
from regstudio.studio.settings_files import command_line
from regstudio.studio.studio import Studio
from tests.training.whole_training import QUICK

Configs = Callable[..., TrainConfig]


def losses(studio: Studio, name: str) -> list[float]:
    return [event.losses["loss"] for event in studio.run(name).events() if isinstance(event, StepDone)]


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


def device(studio: Studio, name: str) -> str:
    return next(event.device for event in studio.run(name).events() if isinstance(event, RunStarted))


def test_a_training_starts_is_stopped_and_goes_on(studio: Studio) -> None:
    training_control.start(studio, {**QUICK, "epochs": 3, "run_name": "a"})
    studio.job.pause()  # it could be over before it is stopped
    assert training_control.ended(studio) == []
    assert training_control.possible(training_control.state(studio))["stop"]
    with pytest.raises(RunError, match="a is being trained"):
        training_control.start(studio, {**QUICK, "run_name": "b"})
    with pytest.raises(RunError, match="a is being trained"):
        training_control.resume(studio, "a")
    studio.job.stop()
    assert studio.job.join(60)
    assert [name for _, name in training_control.resumable(studio)] == ["a"]
    assert training_control.possible_now(studio)["resume"]
    training_control.go_on(studio)
    assert studio.job.join(60)
    assert not training_control.possible_now(studio)["resume"]
    assert training_control.ended(studio) == ["a"]
    assert (training_control.state(studio), training_control.resumable(studio)) == ("finished", [])
    assert len(losses(studio, "a")) == 12


@pytest.mark.slow
def test_the_copied_command_line_gives_the_same_losses(studio: Studio) -> None:
    studio.workspace().change_settings({"threads": 2})
    with threads(3):  # what the program would take is not what the run takes
        training_control.start(studio, {**QUICK, "epochs": 1, "seed": 5, "run_name": "browser"})
        line = command_line(studio.workspace().config).replace("browser", "terminal")
        assert studio.job.join(300)
    with threads(4):
        result = CliRunner().invoke(main, shlex.split(line)[1:])
    assert result.exit_code == 0, result.output
    assert losses(studio, "browser") == losses(studio, "terminal")
    assert {device(studio, name) for name in ("browser", "terminal")} == {"cpu (2 threads)"}


def test_bad_data_is_refused_with_the_reason(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    studio.workspace().change_settings({"data_base_dir": tmp_path / "empty"})
    with pytest.raises(DataError, match=r"cannot be trained on(.|\n)*The Data tab lists"):
        training_control.start(studio, QUICK)
    assert training_control.state(studio) == "idle"
    assert not studio.runs_dir.exists()


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"load_model": "/etc/passwd"}, ConfigError, "may not be opened"),
        ({"epochs": 0}, ConfigError, "epochs is 0"),
        ({"device": "cuda:99"}, DeviceError, "cuda:99"),
        ({"epoch": 1}, ConfigError, "epochs"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run_is_made(
    studio: Studio, values: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        training_control.start(studio, {**QUICK, **values})
    assert not studio.runs_dir.exists()


def test_a_missing_checkpoint_is_named(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.pt: there is no such checkpoint"):
        training_control.start(studio, {**QUICK, "load_model": str(tmp_path / "gone.pt")})


@pytest.mark.parametrize(
    ("name", "fresh"),
    [(None, None), ("", ""), ("new", "new"), ("mine", "mine_4"), ("mine_2", "mine_4"), ("scan_2024", "scan_2024_2")],
)
def test_the_next_name_counts_up(studio: Studio, name: str | None, fresh: str | None) -> None:
    for taken in ("mine", "mine_2", "mine_3", "scan_2024"):
        (studio.runs_dir / taken).mkdir(parents=True)
    assert training_control.fresh_name(studio, name) == fresh


@pytest.mark.parametrize("name", [None, "", 3, "..", "none", ["a"]])
def test_only_a_run_can_be_gone_on_with(studio: Studio, name: object) -> None:
    with pytest.raises(RunError):
        training_control.resume(studio, name)


@pytest.mark.parametrize(
    ("state", "saved", "actions"),
    [
        ("idle", False, {"start", "go_on"}),
        ("running", True, {"pause", "stop", "save"}),
        ("paused", False, {"resume", "stop"}),
        ("stopping", True, set()),
        ("stopped", True, {"start", "go_on", "resume"}),
        ("failed", True, {"start", "go_on", "resume"}),
        ("failed", False, {"start", "go_on"}),
        ("finished", True, {"start", "go_on"}),
    ],
)
def test_what_is_possible(state: str, saved: bool, actions: set[str]) -> None:
    assert {action for action, allowed in training_control.possible(state, saved).items() if allowed} == actions
