"""How OpenMP's threads wait for each other: awake on a quiet machine, asleep beside other work.

A step of a training has hundreds of places where threads wait for the last of them. Waiting awake saves the time to
wake up; beside other work it takes the core that the last one needs. GNU's OpenMP, torch's on Linux, reads how long
threads stay awake only when it is loaded, but lets them sleep almost at once while a program has more of its threads
than there are cores. So a thread looks, now and then, how long the program's threads waited for a core, and holds a
team of sleeping threads meanwhile. The number of threads that compute, and so every result, stays the same.
"""

import ctypes
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LOOK_SECONDS = 0.25
# Seconds that the program's threads, taken together, waited for a core in each second. On two cores beside one busy
# process it is 0.4 to 0.6; up to 0.15, a step is faster with threads that wait awake.
BUSY_SHARE, QUIET_SHARE = 0.3, 0.15
QUIET_SECONDS = 2.0  # after which threads wait awake again
IDLE_SHARE = 0.05  # of one core
TASKS, MAPS = Path("/proc/self/task"), Path("/proc/self/maps")  # on Linux
SET_BY_USER = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
_NAME = "load watch"


def watch_load() -> None:
    """Start the thread that lets OpenMP's threads sleep beside other work; without effect but on Linux, with libgomp.

    What the user set, by OMP_WAIT_POLICY or GOMP_SPINCOUNT, stays.
    """
    running = any(thread.name == _NAME for thread in threading.enumerate())
    if not running and not SET_BY_USER & os.environ.keys() and RunDelays().seconds() is not None:
        threading.Thread(target=_watch, name=_NAME, daemon=True).start()


class RunDelays:
    """How long the threads of this program waited for a core."""

    def __init__(self, tasks: Path = TASKS) -> None:
        self._tasks = tasks
        self._before: dict[str, int] = {}

    def seconds(self) -> float | None:
        """Return the seconds since the last call, those of all threads added up; None where the system does not tell.

        A thread that has ended meanwhile does not count.
        """
        now: dict[str, int] = {}
        try:
            for task in self._tasks.iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
                    now[task.name] = int((task / "schedstat").read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return None
        before, self._before = self._before, now
        return sum(max(0, waited - before.get(task, 0)) for task, waited in now.items()) / 1e9 if now else None


class Choice:
    """Whether threads should wait asleep, from looks at the load."""

    def __init__(self) -> None:
        self.asleep, self._quiet = False, 0.0

    def look(self, waited: float, seconds: float) -> bool:
        """Choose, after `seconds` in which the program's threads waited so long for a core."""
        share = waited / seconds
        self._quiet = self._quiet + seconds if share <= QUIET_SHARE else 0.0
        self.asleep = share > BUSY_SHARE or (self.asleep and self._quiet < QUIET_SECONDS)
        return self.asleep


class SleepingTeam:
    """A team of one OpenMP thread more than there are cores, which sleeps while the team is there."""

    def __init__(self) -> None:
        self._end: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def hold(self, wanted: bool) -> None:
        """Have the team, or not; without effect where GNU's OpenMP is not loaded."""
        if wanted and self._thread is None:
            libraries = _loaded_libraries()
            if libraries:
                self._end = threading.Event()
                self._thread = threading.Thread(target=_sleep_in_team, args=(libraries, self._end), daemon=True)
                self._thread.start()
        elif not wanted and self._thread is not None and self._end is not None:
            self._end.set()
            self._thread.join()
            self._thread = self._end = None


def _watch() -> None:
    delays, choice, team = RunDelays(), Choice(), SleepingTeam()
    looked, used = time.monotonic(), time.process_time()
    while True:
        time.sleep(LOOK_SECONDS)
        seconds, computed = time.monotonic() - looked, time.process_time() - used
        # A program that idles, as a page that nobody uses, waits for no core and need not ask each of its threads.
        waited = delays.seconds() if computed > IDLE_SHARE * seconds else 0.0
        if waited is not None and "torch" in sys.modules:  # which loads OpenMP
            team.hold(choice.look(waited, seconds))
        looked, used = looked + seconds, used + computed


def _loaded_libraries() -> list[ctypes.CDLL]:
    try:
        lines = MAPS.read_text().splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "libgomp" in line}
    libraries = []
    for path in paths:
        with suppress(OSError):
            libraries.append(ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY))
    return [library for library in libraries if hasattr(library, "GOMP_parallel")]


def _sleep_in_team(libraries: list[ctypes.CDLL], end: threading.Event) -> None:
    """Have each library start a team for this thread: it lasts as long as the thread, and sleeps but for its start."""
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)  # a function that does nothing
    for library in libraries:
        library.GOMP_parallel(nothing, None, ctypes.c_uint((os.cpu_count() or 1) + 1), ctypes.c_uint(0))
    end.wait()
