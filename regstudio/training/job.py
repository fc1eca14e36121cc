"""A training in a background thread, which other threads start, pause, resume and stop."""

import threading
from contextlib import suppress

from regstudio.background import ACTIVE, BackgroundJob, JobState
from regstudio.config import TrainConfig
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import RegStudioError, RunError
from regstudio.runs.events import RunFinished
from regstudio.runs.run import Run, create_run
from regstudio.training.recording import record
from regstudio.training.trainer import train


class TrainJob(BackgroundJob):
    """Trains one run at a time in a background thread.

    All methods are thread-safe, and all but `join` return at once. The run's events.jsonl records the events; `state`
    and `message` tell the current state.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stop = threading.Event()
        self._save = threading.Event()
        self._run: Run | None = None

    @property
    def run(self) -> Run | None:
        """The run in training, or the last one."""
        return self._run

    def start(self, config: TrainConfig, index: DataIndex, run: Run | None = None) -> Run:
        """Start a new run, or resume `run`; return it. Raises RunError while another training is active."""
        with self._lock:
            if self._state in ACTIVE:
                raise RunError(f"{self._run and self._run.path} is being trained. Stop it before starting another.")
            self._run = run or create_run(config)
            self._stop.clear()
            self._save.clear()
            self._not_paused.set()
            self._state, self._message = JobState.RUNNING, ""
            self._thread = threading.Thread(
                target=self._train, args=(config, index, self._run, run is None), name="training"
            )
            self._thread.start()
            return self._run

    def pause(self) -> None:
        """Pause after the current step, keeping everything in memory; does nothing unless the job is running."""
        self._change(JobState.RUNNING, JobState.PAUSED, self._not_paused.clear)

    def resume(self) -> None:
        """End a pause; does nothing unless the job is paused."""
        self._change(JobState.PAUSED, JobState.RUNNING, self._not_paused.set)

    def save(self) -> None:
        """Save last.pt after the current step; during a pause, once the pause is over."""
        if self._state in ACTIVE:
            self._save.set()

    def stop(self) -> None:
        """Finish the current step, save last.pt and end; the run can be resumed later."""
        with self._lock:
            if self._state in ACTIVE:
                self._state = JobState.STOPPING
                self._stop.set()
                self._not_paused.set()

    def _train(self, config: TrainConfig, index: DataIndex, run: Run, is_new: bool) -> None:
        end, began = RunFinished(reason="failed", message="The training ended without saying why."), False
        try:
            for event in train(config, index, run=run, stop=self._stop, save=self._save):
                began = True
                if isinstance(event, RunFinished):
                    end = event
                self._not_paused.wait()
        except RegStudioError as error:
            end = RunFinished(reason="failed", message=str(error))
        except Exception as error:
            end = RunFinished(reason="failed", message=f"{type(error).__name__}: {error}")
        if is_new and not began:  # else the trainer has recorded it; a resumed run keeps its own last event
            with suppress(OSError, RegStudioError):  # the disk may be full
                record(run, end)
        with self._lock:
            self._state, self._message = JobState(end.reason), end.message
