import json
from collections.abc import Callable
from pathlib import Path

import pytest

from regstudio.config import TrainConfig
from regstudio.errors import RunError
from regstudio.runs.events import (
    EpochDone,
    PairValidated,
    RunFinished,
    RunStarted,
    StepDone,
    TrainEvent,
)
from regstudio.runs.follower import Follower
from regstudio.runs.run import create_run, open_run

Configs = Callable[..., TrainConfig]


def start(*, epoch: int, step: int, resumed: bool) -> RunStarted:
    return RunStarted(
        run="r", device="cpu", parameters=1, train_cases=2, validation_cases=0, epochs=3, steps_per_epoch=2,
        epoch=epoch, step=step, resumed=resumed,
    )  # fmt: skip


def step(epoch: int, number: int, loss: float = 0.5) -> StepDone:
    return StepDone(epoch=epoch, step=number, losses={"loss": loss}, seconds=0.1)


def test_config_is_kept_with_absolute_paths(quick_config: Configs, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo.parent)
    run = create_run(quick_config(data_base_dir=demo.name))
    assert run.config().layout.data_base_dir == demo
    assert open_run(run.path).config() == quick_config()


def test_the_network_that_is_brought_along_is_no_file_of_the_folder_one_is_in(quick_config: Configs) -> None:
    run = create_run(quick_config(load_model="general"))
    assert run.config().optimisation.load_model == Path("general")


def test_events_come_back_as_they_were(quick_config: Configs) -> None:
    run = create_run(quick_config())
    events: list[TrainEvent] = [
        start(epoch=0, step=0, resumed=False),
        step(1, 1),
        EpochDone(epoch=1, epochs=3, seconds=1.5, losses={"loss": 0.25}, metrics={"dice": 0.75}, best=True),
        RunFinished(reason="stopped", message="Stopped.\nBye."),
    ]
    for event in events:
        run.append(event)
    assert run.events() == events
    assert all("time" in json.loads(line) for line in run.events_path.read_text().splitlines())


def test_what_was_done_again_after_a_kill_counts_once(quick_config: Configs) -> None:
    run = create_run(quick_config())
    done = EpochDone(epoch=1, epochs=3, seconds=1.0, losses={})
    events = [start(epoch=0, step=0, resumed=False), step(1, 1), step(1, 2), done]
    lost = [step(2, 1, 9.0), step(2, 2, 9.0)]
    again = [start(epoch=1, step=1, resumed=True), step(2, 2, 0.25)]
    for event in [*events, *lost, *again]:
        run.append(event)
    assert run.events() == [*events, lost[0], *again]


def test_the_milestones_are_the_same_course_without_steps_and_pairs(quick_config: Configs) -> None:
    run = create_run(quick_config())
    first, again = start(epoch=0, step=0, resumed=False), start(epoch=1, step=1, resumed=True)
    done = [EpochDone(epoch=number, epochs=3, seconds=1.0, losses={}) for number in (1, 2)]
    pair = PairValidated(epoch=2, number=1, total=1, case="a", dice_before=None, dice=None, njd_percent=0.0)
    for event in [first, step(1, 1), done[0], step(2, 1), pair, done[1], again, step(2, 2)]:
        run.append(event)
    assert run.milestones() == [first, done[0], again]


def test_a_line_cut_short_by_a_crash_is_passed_over(quick_config: Configs) -> None:
    run = create_run(quick_config())
    run.append(step(1, 1))
    with run.events_path.open("a") as file:
        file.write('{"event": "StepDone", "epo')
    assert run.events() == [step(1, 1)]
    run.append(step(1, 2))
    assert run.events() == [step(1, 1), step(1, 2)]


def test_a_follower_reads_each_event_once(quick_config: Configs) -> None:
    run = create_run(quick_config())
    follower = Follower(run.events_path)
    assert follower.update() == []
    for number in (1, 2, 3):
        run.append(step(1, number))
        assert follower.update() == [step(1, n) for n in range(1, number + 1)]
    run.append(start(epoch=0, step=1, resumed=True))
    assert follower.update() == [step(1, 1), start(epoch=0, step=1, resumed=True)]


def test_numbers_that_are_not_finite_stay_valid_json(quick_config: Configs) -> None:
    run = create_run(quick_config())
    run.append(step(1, 1, float("nan")))
    assert json.loads(run.events_path.read_text())["losses"] == {"loss": None}


def test_runs_of_the_same_second_get_different_folders(quick_config: Configs) -> None:
    paths = {create_run(quick_config()).path for _ in range(3)}
    assert len(paths) == 3


def test_what_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"{tmp_path}: is not a run"):
        open_run(tmp_path)


def test_a_damaged_config_is_named(quick_config: Configs) -> None:
    run = create_run(quick_config())
    run.config_path.write_text('{"loss": {"nccweight": 1}}')
    with pytest.raises(RunError, match=r"config\.json: cannot be read .*Did you mean ncc_weight"):
        run.config()


def test_a_runs_folder_that_is_a_file_is_named_with_what_to_do(quick_config: Configs, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be made \(Not a directory\)\. Choose another --runs_dir\.$"):
        create_run(quick_config(runs_dir=tmp_path / "file"))
