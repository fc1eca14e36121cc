"""A registering of many files in a background thread, which other threads start, pause, resume and stop."""

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from regstudio.background import ACTIVE, BackgroundJob, JobState
from regstudio.data.folders.layout import Case
from regstudio.data.pairs.reader import PairReader
from regstudio.errors import RegStudioError, RunError
from regstudio.methods.method import Method
from regstudio.registering.batch import register_files
from regstudio.registering.pipeline import FileResult


@dataclass(frozen=True, kw_only=True)
class RegisterTask:
    """What is registered, by what, and where to: the arguments of `register_files`."""

    method: Method
    reader: PairReader
    cases: Sequence[Case]
    out: Path
    recipe: str


class RegisterJob(BackgroundJob):
    """Registers one folder at a time in a background thread; what was done before is not done again.

    All methods are thread-safe, and all but `join` return at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._task: RegisterTask | None = None
        self._results: list[FileResult] = []
        self._clock = _Clock()

    @property
    def task(self) -> RegisterTask | None:
        """What is registered now, or was last."""
        return self._task

    @property
    def results(self) -> tuple[FileResult, ...]:
        """The results until now, in the order of the cases."""
        return tuple(self._results)

    @property
    def seconds_left(self) -> float | None:
        """The seconds until the last case is done, by the speed until now; None before anything was registered."""
        task, results = self._task, self._results
        fresh = sum(not result.reused for result in results)
        if task is None or not fresh or self._state not in ACTIVE:
            return None
        return self._clock.seconds / fresh * (len(task.cases) - len(results))

    def start(self, task: RegisterTask) -> None:
        """Start; raises RunError while another job is active."""
        with self._lock:
            if self._state in ACTIVE:
                raise RunError(f"{self._task and self._task.out.name} is being made. Stop it before starting another.")
            self._task, self._results, self._clock = task, [], _Clock()
            self._clock.go()
            self._not_paused.set()
            self._state, self._message = JobState.RUNNING, ""
            self._thread = threading.Thread(target=self._register, args=(task,), name="registering")
            self._thread.start()

    def pause(self) -> None:
        """Pause once the cases under way are done; does nothing unless the job is running."""
        self._change(JobState.RUNNING, JobState.PAUSED, self._not_paused.clear, self._clock.halt)

    def resume(self) -> None:
        """End a pause; does nothing unless the job is paused."""
        self._change(JobState.PAUSED, JobState.RUNNING, self._clock.go, self._not_paused.set)

    def stop(self) -> None:
        """End once the cases under way are done; the next start of the same takes up where this one ended."""
        with self._lock:
            if self._state in ACTIVE:
                self._state = JobState.STOPPING
                self._not_paused.set()

    def _register(self, task: RegisterTask) -> None:
        end, message = JobState.FINISHED, ""
        try:
            results = register_files(
                task.method,
                task.reader,
                task.cases,
                task.out,
                recipe=task.recipe,
                as_folder=True,
                proceed=self._not_paused.wait,
            )
            with closing(results):  # type: ignore[type-var]
                for result in results:
                    self._results.append(result)
                    if self._state is JobState.STOPPING:
                        end = JobState.STOPPED
                        break
        except RegStudioError as error:
            end, message = JobState.FAILED, str(error)
        except Exception as error:
            end, message = JobState.FAILED, f"{type(error).__name__}: {error}"
        with self._lock:
            self._clock.halt()
            self._state, self._message = end, message


class _Clock:
    """The seconds that have passed while it was going."""

    def __init__(self) -> None:
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        since = self._since
        return self._before + (0.0 if since is None else time.monotonic() - since)

    def go(self) -> None:
        self._since = time.monotonic()

    def halt(self) -> None:
        self._before, self._since = self.seconds, None
