import json
import time
import zipfile

import pytest

from regstudio.background import JobState
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.runs.events import EpochDone, RunFinished, RunStarted
from regstudio.runs.run import Run
from regstudio.studio import run_actions, training_control


@pytest.fixture
def recorded(studio, quick_config):
    """Runs of two epochs that exist as records only."""

    def record(name, *, dice=(0.5, 0.7), **values):
        run = Run(studio.runs_dir / name)
        (run.path / "checkpoints").mkdir(parents=True)
        (run.path / "log").mkdir()
        run.write_config(quick_config(runs_dir=studio.runs_dir, run_name=name, **values))
        run.append(
            RunStarted(
                run=str(run.path),
                device="cpu",
                parameters=1,
                train_cases=4,
                validation_cases=2,
                epochs=2,
                steps_per_epoch=4,
                epoch=0,
                step=0,
                resumed=False,
            )
        )
        for epoch, value in enumerate(dice, start=1):
            metrics = {"dice": value, "njd_percent": 0.1}
            run.append(EpochDone(epoch=epoch, epochs=2, seconds=40.0, losses={"loss": -value}, metrics=metrics))
        run.append(RunFinished(reason="finished", message="Training Finished"))
        (run.path / "checkpoints" / "last.pt").write_bytes(b"weights")
        return run

    return record


def test_a_line_of_the_table_holds_what_tells_runs_apart(studio, recorded):
    run_actions.write_note(recorded("first"), "better with a larger window\n")
    (summary,) = studio.runs()
    row = dict(zip(run_actions.COLUMNS, run_actions.row(summary), strict=True))
    assert row["Run"] == "first"
    assert row["State"] == "finished"
    assert row["Epochs"] == "2/2"
    assert (row["Best Dice"], row["NJD %"]) == (0.7, 0.1)
    assert row["Time"] == "00:01:20"
    assert "network=voxelmorph" in row["Settings that differ"]
    assert row["Note"] == "better with a larger window"


def test_runs_are_read_again_only_when_they_changed(studio, recorded):
    run, other = recorded("first"), recorded("second")
    before = {summary.name: summary for summary in studio.runs()}
    assert all(before[summary.name] is summary for summary in studio.runs())
    run.append(EpochDone(epoch=3, epochs=3, seconds=1.0, losses={}))
    after = {summary.name: summary for summary in studio.runs()}
    assert after["first"].epochs_done == 3
    assert after[other.path.name] is before["second"]


def test_a_run_that_is_taken_up_counts_as_running(studio, recorded):
    run = recorded("first")
    assert studio.runs()[0].state == "finished"
    with run.lock():
        assert studio.runs()[0].state == "running"
    assert studio.runs()[0].state == "finished"


def test_a_hundred_runs_are_listed_at_once_the_second_time(studio, recorded):
    for number in range(100):
        recorded(f"run{number}")
    studio.runs()
    started = time.perf_counter()
    assert len(studio.runs()) == 100
    assert time.perf_counter() - started < 0.5


def test_curves_go_by_epoch(studio, recorded):
    run = recorded("first")
    run.append(EpochDone(epoch=3, epochs=3, seconds=1.0, losses={"loss": -0.8}, scale=2))
    (curves,) = json.loads(run_actions.curves(studio, [run]))
    layout = run.config().layout
    assert curves == {
        "name": "first",
        "data": layout.data_base_dir.name,
        "data_key": layout.model_dump_json(),
        "epoch": [1, 2, 3],
        "minutes": pytest.approx([40 / 60, 80 / 60, 81 / 60]),
        "scale": [1, 1, 2],
        "loss": [-0.5, -0.7, -0.8],
        "dice": [0.5, 0.7, None],
        "tre": [None, None, None],
        "njd": [0.1, 0.1, None],
    }


def test_renaming_keeps_everything_and_its_record(studio, recorded):
    run = run_actions.rename(recorded("first"), " second ")
    assert studio.run("second") == run
    assert run.config().run.run_name == "second"
    assert run.last_path.read_bytes() == b"weights"
    with pytest.raises(RunError):
        studio.run("first")


@pytest.mark.parametrize("name", ["", ".", "..", "../out", "a/b", "a\\b", ".hidden"])
def test_what_is_no_name_is_refused(studio, recorded, name):
    run = recorded("first")
    with pytest.raises((ConfigError, RunError)):
        run_actions.rename(run, name)
    assert studio.run("first") == run


def test_a_name_that_is_taken_is_refused(recorded):
    run = recorded("first")
    recorded("second")
    with pytest.raises(RunError, match="already"):
        run_actions.rename(run, "second")


def test_a_deleted_run_lies_in_the_trash(studio, recorded):
    places = [run_actions.delete(recorded("first")) for _ in range(2)]
    assert studio.runs() == []
    assert all(Run(place).last_path.read_bytes() == b"weights" for place in places)
    assert {place.parent for place in places} == {studio.runs_dir / run_actions.TRASH}


@pytest.mark.parametrize("act", [run_actions.delete, lambda run: run_actions.rename(run, "other")])
def test_a_run_in_training_stays_where_it_is(recorded, act):
    run = recorded("first")
    with run.lock(), pytest.raises(RunError, match="is training now"):
        act(run)
    assert run.config_path.is_file()


def test_too_long_a_note_is_refused(recorded):
    with pytest.raises(RunError, match="characters"):
        run_actions.write_note(recorded("first"), "x" * (run_actions.MAX_NOTE_LENGTH + 1))


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_packed_run_is_whole(recorded, tmp_path, checkpoints):
    run = recorded("first")
    run.lock().release()  # leaves its lock file
    (run.path / "link").symlink_to("/etc/hostname")
    with zipfile.ZipFile(run_actions.pack(run, tmp_path / "first.zip", checkpoints=checkpoints)) as file:
        names = set(file.namelist())
    expected = {"first/config.json", "first/events.jsonl"}
    assert names == expected | ({"first/checkpoints/last.pt"} if checkpoints else set())


def test_a_stopped_run_goes_on(studio, quick_config):
    config = quick_config(epochs=1, runs_dir=studio.runs_dir)
    run = studio.job.start(config, studio.workspace().report().index)
    assert studio.job.join(60)
    with pytest.raises(RunError, match="1 epochs are done"):
        training_control.resume(studio, run.path.name)
    training_control.resume(studio, run.path.name, epochs=2)
    assert studio.job.join(60)
    assert studio.job.state is JobState.FINISHED
    assert [event.epoch for event in run.events() if isinstance(event, EpochDone)] == [1, 2]
    assert run.config().optimisation.epochs == 2


def test_a_run_whose_data_are_out_of_bounds_does_not_go_on(studio, recorded, tmp_path_factory):
    run = recorded("first", data_base_dir=tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ConfigError, match="may not be opened"):
        training_control.resume(studio, run.path.name, epochs=3)


def test_a_run_whose_data_are_gone_does_not_go_on(studio, recorded, tmp_path):
    run = recorded("first", data_base_dir=tmp_path / "gone")
    with pytest.raises((DataError, RunError)):
        training_control.resume(studio, run.path.name, epochs=3)


def test_a_read_only_studio_resumes_nothing(studio, recorded):
    run = recorded("first")
    with pytest.raises(RunError, match="only shows"):
        training_control.resume(studio.shared(["first"]), run.path.name, epochs=3)


def test_runs_are_filtered_by_words_and_grouped_by_data(studio, recorded):
    recorded("first")
    (row,) = [run_actions.row(run) for run in studio.runs()]
    other = ["second", *row[1:]]
    other[run_actions.COLUMNS.index("Data")] = "AAA"
    assert [found[0] for found in run_actions.filtered([row, other], "SECOND finished")] == ["second"]
    assert run_actions.filtered([row], "finished gone") == []
    assert [found[0] for found in run_actions.filtered([row, other], by_data=True)] == ["second", "first"]
