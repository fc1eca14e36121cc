"""Reads uploaded files in a process of its own, so that a decoder that crashes or hangs is a message, not the end.

The headers of all files are bounded before any library sees them (see regstudio.data.codecs.bounds). What a library
makes of damaged pixels is its own affair; for files from strangers it happens where nothing else is lost.
"""

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import LifoQueue
from typing import Any

from regstudio.data.problems import FileError
from regstudio.errors import DataError

MAX_SECONDS = 60.0  # for one file
MAX_MEMORY = 4 * 2**30  # bytes of addresses, where the system has such a limit
MAX_PROCESSES = 4
PROGRAM = "from regstudio.data.pictures.decoder import serve; serve()"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
_REMEDY = "Copy or export it again."

_folders: set[str] = set()


def read_apart(folder: Path) -> None:
    """Let the files below `folder`, which strangers fill, be read in a process of their own from now on."""
    _folders.add(os.path.realpath(folder))


def is_uploaded(path: Path) -> bool:
    """Return whether a file is to be read in a process of its own."""
    if not _folders:
        return False
    real = os.path.realpath(path)
    return any(real.startswith(folder + os.sep) for folder in _folders)


class DecoderPool:
    """Up to `processes` Python processes that run `program`, started when they are needed and used again.

    One that takes more than `seconds` for a file is stopped.
    """

    def __init__(self, processes: int = 1, *, seconds: float = MAX_SECONDS, program: str = PROGRAM) -> None:
        self._seconds, self._program = seconds, program
        self._started: set[_Process] = set()
        # The one that was used last comes first, so that few are started.
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(processes):
            self._idle.put(None)

    def call(self, path: Path, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return function(*args, **kwargs), called in one of the processes; FileError for `path` if that stops.

        Arguments and result are pickled.
        """
        process = self._idle.get()
        try:
            if process is not None and process.has_ended:  # while nobody asked: that is no fault of this file
                self._end(process)
                process = None
            if process is None:
                process = _Process(self._program)
                self._started.add(process)
            answer = process.ask((function, args, kwargs), self._seconds)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            what = "its decoder stopped; the file is damaged"
            if process is None:
                what = f"no process could be started to decode it ({error})"
            elif process.is_late:
                what = f"its decoder took more than {self._seconds:.0f} seconds; the file is damaged"
            if process is not None:
                self._end(process)
                process = None
            raise FileError(path, what, _REMEDY) from error
        finally:
            self._idle.put(process)
        if isinstance(answer, DataError):
            raise answer
        return answer

    @property
    def running(self) -> int:
        """How many processes are running."""
        return sum(not process.has_ended for process in self._started)

    def end(self) -> None:
        """End all processes."""
        for process in tuple(self._started):
            self._end(process)

    def _end(self, process: "_Process") -> None:
        self._started.discard(process)
        process.end()


class _Process:
    """A Python process that answers one question at a time."""

    def __init__(self, program: str) -> None:
        # It imports what this process would, but nothing from the working folder.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, **dict.fromkeys(_THREADS, "1")},
        )
        self.is_late = False

    def ask(self, question: Any, seconds: float) -> Any:
        """Return the answer; OSError, EOFError or UnpicklingError if the process stops, or is late and stopped."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(seconds, self._stop_late)
        timer.daemon = True  # it keeps nobody from leaving
        timer.start()
        try:
            pickle.dump(question, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)  # noqa: S301  what our own program has pickled
        finally:
            timer.cancel()

    @property
    def has_ended(self) -> bool:
        """Whether the process is not there any more."""
        return self._process.poll() is not None

    def end(self) -> None:
        """End the process and wait for its end."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()

    def _stop_late(self) -> None:
        self.is_late = True
        self._process.kill()


pool = DecoderPool(min(MAX_PROCESSES, os.cpu_count() or 1))  # for all uploaded files
atexit.register(lambda: pool.end())


def serve() -> None:
    """Answer questions from stdin on stdout until there are no more: the program of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that asks
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    with suppress(EOFError):
        while True:
            function, args, kwargs = pickle.load(sys.stdin.buffer)  # noqa: S301  what our own program has pickled
            try:
                answer = function(*args, **kwargs)
            except DataError as error:
                answer = error
            pickle.dump(answer, answers, protocol=5)
            answers.flush()
