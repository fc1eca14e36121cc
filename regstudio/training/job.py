"""A training in a background thread, to be started, paused, resumed and stopped from elsewhere."""

import threading
from collections.abc import Callable
from enum import StrEnum

from regstudio.config import TrainConfig
from regstudio.data.layout import DataIndex
from regstudio.errors import RegStudioError, RunError
from regstudio.runs.events import RunFinished
from regstudio.runs.run import Run, create_run
from regstudio.training.trainer import train


class JobState(StrEnum):
    """What a job is doing; the last three are how it ended."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


ACTIVE = {JobState.RUNNING, JobState.PAUSED, JobState.STOPPING}


class TrainJob:
    """Train one run at a time in a thread of its own.

    All methods may be called from any thread and return at once, but for `join`. What happens is in the run's
    events.jsonl; `state` and `message` say how it stands.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._save = threading.Event()
        self._go_on = threading.Event()
        self._thread: threading.Thread | None = None
        self._state = JobState.IDLE
        self._message = ""
        self._run: Run | None = None

    @property
    def state(self) -> JobState:
        """What the job is doing."""
        return self._state

    @property
    def message(self) -> str:
        """How the last training ended, in words for the user; empty before that."""
        return self._message

    @property
    def run(self) -> Run | None:
        """The run that is being trained, or was last."""
        return self._run

    def start(self, config: TrainConfig, index: DataIndex, run: Run | None = None) -> Run:
        """Start a new run, or go on with `run`; return it. Raises RunError while another training is active."""
        with self._lock:
            if self._state in ACTIVE:
                raise RunError(f"{self._run and self._run.path} is being trained. Stop it before starting another.")
            self._run = run or create_run(config)
            self._stop.clear()
            self._save.clear()
            self._go_on.set()
            self._state, self._message = JobState.RUNNING, ""
            self._thread = threading.Thread(
                target=self._work, args=(config, index, self._run, run is None), name="training"
            )
            self._thread.start()
            return self._run

    def pause(self) -> None:
        """Wait after the step under way, with everything kept in memory; nothing happens unless it is running."""
        self._change(JobState.RUNNING, JobState.PAUSED, self._go_on.clear)

    def resume(self) -> None:
        """Go on after a pause; nothing happens unless it is paused."""
        self._change(JobState.PAUSED, JobState.RUNNING, self._go_on.set)

    def save(self) -> None:
        """Save last.pt after the step under way, and go on; in a pause, once it is over."""
        if self._state in ACTIVE:
            self._save.set()

    def stop(self) -> None:
        """Finish the step under way, save last.pt and end; the run can be gone on with later."""
        with self._lock:
            if self._state in ACTIVE:
                self._state = JobState.STOPPING
                self._stop.set()
                self._go_on.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the training has ended; return False if it still goes on after `timeout` seconds."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _change(self, before: JobState, after: JobState, act: Callable[[], None]) -> None:
        with self._lock:
            if self._state is before:
                self._state = after
                act()

    def _work(self, config: TrainConfig, index: DataIndex, run: Run, fresh: bool) -> None:
        end = RunFinished(reason="failed", message="The training ended without saying why.")
        try:
            for event in train(config, index, run=run, stop=self._stop, save=self._save):
                if isinstance(event, RunFinished):
                    end = event
                self._go_on.wait()
        except RegStudioError as error:
            end = RunFinished(reason="failed", message=str(error))
            if fresh:  # a run that did not start is worth a record; one that was there before keeps its own end
                run.append(end)
        except Exception as error:  # the trainer has recorded it; the person at the screen must see it too
            end = RunFinished(reason="failed", message=f"{type(error).__name__}: {error}")
        with self._lock:
            self._state, self._message = JobState(end.reason), end.message
