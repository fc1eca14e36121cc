"""A registering in the background: paused, resumed, stopped, and taken up again."""

from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from regstudio.background import JobState
from regstudio.data.folders.layout import Case
from regstudio.data.loading.loaders import ImageLoader, LabelLoader
from regstudio.data.pairs.pair import Pair
from regstudio.data.pairs.reader import PairReader
from regstudio.data.pictures.writing import write_image
from regstudio.errors import RunError
from regstudio.methods.method import Unregistered
from regstudio.registering.job import RegisterJob, RegisterTask
from regstudio.transforms.transform import Transform

CASES = 12  # more than are begun at once


class Gated(Unregistered):
    """Registers nothing until it is let through."""

    def __init__(self) -> None:
        self.begun, self.go = Event(), Event()

    def __call__(self, pair: Pair) -> Transform:
        self.begun.set()
        assert self.go.wait(10)
        return super().__call__(pair)


@pytest.fixture
def task(tmp_path: Path, image: np.ndarray) -> RegisterTask:
    for number in range(CASES):
        write_image(tmp_path / "moving" / f"m{number:02}.npy", np.roll(image, number, 0))
    write_image(tmp_path / "fixed.npy", image)
    reader = PairReader(
        fixed=Case(id="fixed", image=tmp_path / "fixed.npy"), image_loader=ImageLoader(), label_loader=LabelLoader()
    )
    cases = [Case(id=path.stem, image=path) for path in sorted((tmp_path / "moving").iterdir())]
    return RegisterTask(method=Gated(), reader=reader, cases=cases, out=tmp_path / "out", recipe="none")


def ends(job: RegisterJob) -> JobState:
    assert job.join(20)
    return job.state


def test_a_stopped_job_goes_on_where_it_ended(task: RegisterTask) -> None:
    job, method = RegisterJob(), task.method
    assert isinstance(method, Gated)
    assert (job.state, job.seconds_left) == (JobState.IDLE, None)
    job.start(task)
    assert method.begun.wait(10)
    with pytest.raises(RunError, match="Stop it"):
        job.start(task)
    job.stop()
    method.go.set()
    assert ends(job) is JobState.STOPPED
    assert 0 < len(job.results) < CASES
    done = len(list(task.out.glob("*_warped.npy")))
    job.start(task)
    assert ends(job) is JobState.FINISHED
    assert [result.case.id for result in job.results] == [case.id for case in task.cases]
    assert sum(result.reused for result in job.results) == done
    assert (task.out / "metrics.csv").read_text().count("\n") == CASES + 1


def test_a_paused_job_begins_no_case(task: RegisterTask) -> None:
    job, method = RegisterJob(), task.method
    assert isinstance(method, Gated)
    job.start(task)
    assert method.begun.wait(10)
    job.pause()
    method.go.set()
    assert job.state is JobState.PAUSED
    assert not job.join(0.2)
    assert len(list(task.out.glob("*_warped.npy"))) < CASES
    job.resume()
    assert ends(job) is JobState.FINISHED


def test_what_cannot_be_done_at_all_is_said(task: RegisterTask, tmp_path: Path) -> None:
    job = RegisterJob()
    job.start(replace(task, reader=replace(task.reader, fixed=Case(id="x", image=tmp_path / "gone.npy"))))
    assert ends(job) is JobState.FAILED
    assert "gone.npy" in job.message


def test_one_image_is_a_folder_too(task: RegisterTask) -> None:
    job = RegisterJob()
    assert isinstance(task.method, Gated)
    task.method.go.set()
    job.start(replace(task, cases=task.cases[:1]))
    assert ends(job) is JobState.FINISHED
    assert (task.out / "registered.jsonl").is_file()
