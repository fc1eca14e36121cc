"""What other work does to a training: the time of a step beside a busy process, or beside another training."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from regstudio.bench.steps import step_of
from regstudio.networks.device import find_device
from regstudio.waiting import watch_load

_MIN_STEPS = 3
_BUSY = "while True: pass"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Median seconds of a training step on (size, size): `alone`, and beside one busy process."""

    network: str
    size: int
    batch_size: int
    alone: float
    busy: float


def measure_beside(network: str, size: int, batch_size: int, device: str, seconds: float) -> Beside:
    """Measure steps for `seconds` alone, and as long beside one busy process; call it in a new process."""
    watch_load()  # as the program does
    step = step_of(network, size, batch_size, find_device(device))
    step()
    alone = _median(step, seconds)
    with _busy_process():
        return Beside(network=network, size=size, batch_size=batch_size, alone=alone, busy=_median(step, seconds))


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", _BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _median(step: Callable[[], object], seconds: float) -> float:
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < _MIN_STEPS or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return statistics.median(times)
