"""A process of its own for hostile inputs: it is measured, and ended where it takes too long or too much.

One process serves many inputs, since importing torch takes seconds; after a death, the next input gets a new one.
"""

import contextlib
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SECONDS = 10.0  # for one input at one door
BYTES = 2**30  # of memory that it takes beyond what the program and its caches hold
_START_SECONDS = 180.0  # imports, a small training and a busy machine
_MORE_ADDRESSES = 2**33  # so that what takes gigabytes fails here, and not the whole machine
_FILE_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a door said: its exit code and text; `noise` is what native code wrote, `failure` a traceback.

    `taken` are the bytes of memory that it took, at its peak, beyond what there was before.
    """

    code: int
    text: str
    noise: str = ""
    failure: str = ""
    seconds: float = 0.0
    taken: int = 0


class Worker:
    """The parent's side: asks the doors of a child process, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: Any = None
        self._connection: Any = None

    def ask(self, door: str, *arguments: Any) -> Answer:
        """Return what the door says; an Answer with a failure where the process dies or takes too long."""
        if self._process is None:
            self._start()
        self._connection.send((door, arguments))
        if not self._connection.poll(SECONDS):
            self.close()
            return Answer(code=-1, text="", failure=f"still busy after {SECONDS:.0f} s")
        try:
            answer: Answer = self._connection.recv()
        except EOFError:
            self._process.join(SECONDS)
            code = self._process.exitcode
            self.close()
            return Answer(code=-1, text="", failure=f"the program died with exit code {code}")
        return answer

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, self._folder), daemon=True)
        self._process.start()
        other.close()
        assert self._connection.poll(_START_SECONDS), "the worker did not start"
        assert self._connection.recv() == "ready"


def _serve(connection: Connection, folder: Path) -> None:
    """Answer until the parent is gone."""
    import torch

    from tests.hostile.doors import Doors

    torch.set_num_threads(1)
    doors = Doors(Path(tempfile.mkdtemp(dir=folder)))
    limit = _status("/proc/self/status", "VmSize") + _MORE_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            door, arguments = connection.recv()
            connection.send(_measured(doors, door, arguments))


def _measured(doors: Any, door: str, arguments: tuple[Any, ...]) -> Answer:
    _forget_peaks()
    before = _memory("VmRSS")
    with _native_noise() as noise:
        start = time.perf_counter()
        try:
            answer: Answer = getattr(doors, door)(*arguments)
        except BaseException:
            answer = Answer(code=-1, text="", failure=traceback.format_exc())
        seconds = time.perf_counter() - start
    return replace(answer, noise=noise[0], seconds=seconds, taken=_memory("VmHWM") - before)


@contextlib.contextmanager
def _native_noise() -> Iterator[list[str]]:
    """Catch what libraries write past Python to standard output and error."""
    caught: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield caught
        finally:
            for number, original in zip((1, 2), kept, strict=True):
                os.dup2(original, number)
                os.close(original)
            file.seek(0)
            caught.append(file.read(10_000).decode("utf-8", "replace"))


def _forget_peaks() -> None:
    for process in _family():
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")


def _memory(name: str) -> int:
    """The memory, in bytes, of this process and its children: now by "VmRSS", by "VmHWM" the most since then."""
    return sum(_status(f"/proc/{process}/status", name) for process in _family())


def _family() -> list[int]:
    """This process and the processes that descend from it; where there is no /proc, none."""
    found = [os.getpid()] if Path("/proc/self/clear_refs").exists() else []
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(map(int, task.read_text().split()))
    return found


def _status(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)
