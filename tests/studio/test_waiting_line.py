from collections.abc import Callable

import pytest

from regstudio.config import TrainConfig
from regstudio.errors import ConfigError, RunError
from regstudio.runs.sweep import read_sweep
from regstudio.studio import sweeps, training_control
from regstudio.studio.studio import Studio
from regstudio.studio.waiting_line import MAX_WAITING, WaitingLine
from tests.training.whole_training import QUICK

Configs = Callable[..., TrainConfig]


@pytest.fixture
def line(studio: Studio) -> WaitingLine:
    """A line that only looks when a test does."""
    return WaitingLine(studio, look_seconds=1000.0)


def config(studio: Studio, **values: object) -> TrainConfig:
    return studio.workspace().change_settings({**QUICK, "epochs": 1, "batch_size": 4, **values})


def test_trainings_wait_for_the_one_under_way_and_go_on_after_a_restart(studio: Studio, line: WaitingLine) -> None:
    training_control.start(studio, {**QUICK, "epochs": 500, "run_name": "mine"})
    studio.job.pause()
    assert line.add([config(studio, run_name="mine"), config(studio, run_name="mine", lr=0.02)]) == ["mine_2", "mine_3"]
    line.look()
    assert line.names() == ["mine_2", "mine_3"]
    studio.job.stop()
    assert studio.job.join(60)
    line.close()

    again = WaitingLine(studio)
    assert again.names() == ["mine_2", "mine_3"]
    again.look()
    assert again.names() == ["mine_3"]
    assert studio.job.run == studio.run("mine_2")
    assert studio.job.join(60)
    again.look()
    assert studio.job.join(60)
    assert (again.names(), again.path.exists()) == ([], False)
    assert studio.run("mine_3").config().optimisation.lr == 0.02
    assert {run.state for run in studio.runs()} == {"stopped", "finished"}


def test_what_cannot_start_leaves_the_line_with_the_reason(studio: Studio, line: WaitingLine) -> None:
    line.add([config(studio, run_name="gone")])
    data = studio.workspace().config.layout.data_base_dir
    record = line.path.read_text().replace(str(data), str(data.parent / "none"))
    line.path.write_text(record)
    line.look()
    assert line.names() == []
    assert line.refused.startswith("gone could not start: ")
    assert not studio.runs_dir.joinpath("gone").exists()


def test_a_damaged_file_is_told_and_nothing_starts(studio: Studio, line: WaitingLine) -> None:
    studio.runs_dir.mkdir(parents=True)
    line.path.write_text("[{")
    line.look()
    assert "Delete it." in line.refused
    assert training_control.state(studio) == "idle"


def test_one_is_taken_out_and_no_more_wait_than_may(studio: Studio, line: WaitingLine) -> None:
    line.add([config(studio)])
    line.remove("training")
    with pytest.raises(RunError, match="does not wait"):
        line.remove("training")
    with pytest.raises(RunError, match="is the most"):
        line.add([config(studio)] * (MAX_WAITING + 1))


def test_a_sweep_puts_its_runs_in_line_and_shows_what_they_came_to(studio: Studio, line: WaitingLine) -> None:
    base = config(studio, run_name=None)
    with pytest.raises(ConfigError, match="varies at least one"):
        sweeps.begin(studio, line, base, {"grad_weight": " ", "": "1"})
    name = sweeps.begin(studio, line, base, {"grad_weight": "0.1, 5", "": ""})
    assert name == "sweep_sweep"
    assert line.names() == list(read_sweep(studio.runs_dir / name).runs)
    assert [row[2] for row in sweeps.table(studio, name)[1:]] == ["not yet", "not yet"]
    assert sweeps.plot(studio, name) is None
    for _ in range(2):
        line.look()
        assert studio.job.join(60)
    heads, *rows = sweeps.table(studio, name)
    assert heads[:4] == ["run", "grad_weight", "state", "Dice"]
    assert [row[2] for row in rows] == ["finished", "finished"]
    assert sweeps.plot(studio, name) == studio.runs_dir / name / "plot.png"
    assert sweeps.begin(studio, line, base, {"lr": "0.01"}) == "sweep_2_sweep"
    with pytest.raises(RunError, match="no such sweep"):
        sweeps.table(studio, "../x")
