import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from regstudio.background import JobState
from regstudio.config import TrainConfig
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import RunError
from regstudio.runs.events import RunFinished, RunStarted, StepDone
from regstudio.training.job import TrainJob
from regstudio.training.setup import check_data

Configs = Callable[..., TrainConfig]
PATIENCE = 60


@pytest.fixture
def job() -> Iterator[TrainJob]:
    job = TrainJob()
    yield job
    job.stop()
    assert job.join(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def started(job: TrainJob, config: TrainConfig) -> tuple[DataIndex, Callable[[], int]]:
    """Start a job; return its index and a function that counts the steps in its record."""
    index = check_data(config).index
    run = job.start(config, index)
    return index, lambda: sum(isinstance(event, StepDone) for event in run.events())


def test_trains_in_the_background_to_the_end(job: TrainJob, quick_config: Configs) -> None:
    assert job.state is JobState.IDLE
    _, steps = started(job, quick_config())
    assert job.join(PATIENCE)
    assert job.state is JobState.FINISHED
    assert job.message == "Training Finished"
    assert steps() == 8


def test_pauses_and_resumes_without_losing_a_step(job: TrainJob, quick_config: Configs) -> None:
    _, steps = started(job, quick_config())
    run = job.run
    assert run is not None
    job.pause()
    assert job.state is JobState.PAUSED
    until(lambda: bool(run.events()))
    time.sleep(0.3)  # enough for several steps
    assert steps() == 0
    job.resume()
    assert job.state is JobState.RUNNING
    assert job.join(PATIENCE)
    assert job.state is JobState.FINISHED
    assert steps() == 8
    assert sum(isinstance(event, RunStarted) for event in run.events()) == 1


@pytest.mark.parametrize("paused", [False, True])
def test_stops_saved_and_goes_on(job: TrainJob, quick_config: Configs, paused: bool) -> None:
    config = quick_config(epochs=500)
    index, steps = started(job, config)
    until(lambda: steps() >= 2)
    if paused:
        job.pause()
    job.stop()
    assert job.join(PATIENCE)
    assert job.state is JobState.STOPPED
    run = job.run
    assert run is not None
    done = steps()
    assert run.last_path.exists()
    job.start(config, index, run)
    until(lambda: steps() > done)
    job.stop()
    assert job.join(PATIENCE)


def test_one_training_at_a_time(job: TrainJob, quick_config: Configs) -> None:
    config = quick_config(epochs=500)
    index, _ = started(job, config)
    with pytest.raises(RunError, match="is being trained"):
        job.start(config, index)


def test_a_start_that_fails_is_told_and_recorded(job: TrainJob, quick_config: Configs) -> None:
    started(job, quick_config(batch_size=5))
    assert job.join(PATIENCE)
    assert job.state is JobState.FAILED
    assert "--batch_size" in job.message
    assert job.run is not None
    assert job.run.events() == [RunFinished(reason="failed", message=job.message)]


@pytest.mark.parametrize("what", ["build", "restore"])
def test_a_fault_while_a_training_is_built_is_recorded(
    job: TrainJob, quick_config: Configs, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fault(*args: object, **values: object) -> None:
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(f"regstudio.training.trainer.{'build' if what == 'build' else 'Checkpointer'}", fault)
    started(job, quick_config())
    assert job.join(PATIENCE)
    assert job.run is not None
    assert job.run.events() == [RunFinished(reason="failed", message="RuntimeError: CUDA error")]
    assert "RuntimeError: CUDA error" in job.run.log_path.read_text()


def test_a_fault_of_the_program_is_told(job: TrainJob, quick_config: Configs) -> None:
    config = quick_config()
    index = check_data(config).index
    job.start(config, replace(index, train=(None,) * len(index.train)))
    assert job.join(PATIENCE)
    assert job.state is JobState.FAILED
    assert job.message.startswith("AttributeError: 'NoneType'")


def test_pause_and_resume_do_nothing_when_idle(job: TrainJob) -> None:
    job.pause()
    job.resume()
    job.stop()
    assert job.state is JobState.IDLE
