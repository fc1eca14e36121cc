"""A job in a background thread, which other threads start, pause, resume and stop."""

import threading
from collections.abc import Callable
from enum import StrEnum


class JobState(StrEnum):
    """What a job is doing; the last three say how it ended."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


ACTIVE = {JobState.RUNNING, JobState.PAUSED, JobState.STOPPING}


class BackgroundJob:
    """The states of a job, and its thread, which waits for `_not_paused`; subclasses start it and say what it does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._not_paused = threading.Event()
        self._thread: threading.Thread | None = None
        self._state, self._message = JobState.IDLE, ""

    @property
    def state(self) -> JobState:
        """What the job is doing."""
        return self._state

    @property
    def message(self) -> str:
        """How the last job ended, as a message for the user; empty before that."""
        return self._message

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the job has ended; return False if it is still running after `timeout` seconds."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _change(self, before: JobState, after: JobState, *acts: Callable[[], object]) -> None:
        with self._lock:
            if self._state is before:
                self._state = after
                for act in acts:
                    act()
