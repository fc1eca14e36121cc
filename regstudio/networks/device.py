"""The device that a name stands for, and how its threads and memory are used."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import torch

from regstudio.errors import DeviceError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
PIXELS_AT_ONCE = 2**19  # in larger images there is work enough for all cores


def find_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu", "cuda" or "cuda:N" names.

    "auto" is CUDA where it is, else the CPU. Raises DeviceError where the named device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if count == 0:
        raise DeviceError(f"device {name}: no CUDA device is there. Use --device auto or --device cpu.")
    if (device.index or 0) >= count:
        raise DeviceError(f"device {name}: there are only {count} CUDA devices, cuda:0 to cuda:{count - 1}.")
    return device


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one; without effect but with glibc, on Linux.

    It gives large maps back to the system each time, which then has to clear every page anew: without this, a
    registration at 256x256 takes 1.2 times as long, and a step on four images of 512x512 1.4 times.
    """
    for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1)):
        _call_glibc("mallopt", parameter, value)


def release_freed_memory() -> None:
    """Give back to the system what was kept, and is not in use."""
    _call_glibc("malloc_trim", 0)


def _call_glibc(function: str, *arguments: int) -> None:
    with suppress(OSError, AttributeError, TypeError):
        getattr(ctypes.CDLL(None), function)(*arguments)


@contextmanager
def cpu_threads(most: int | None) -> Iterator[None]:
    """Take at most that many CPU threads: another number takes sums in another order, and ends in other digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(most or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def images_at_once(device: torch.device, pixels: int) -> int:
    """Return how many images of so many pixels each are best computed at once; on the CPU, small ones share its cores.

    Of 256x256 on two cores, two at once take 0.75 of the time.
    """
    return 1 if device.type != "cpu" else max(1, min(torch.get_num_threads(), PIXELS_AT_ONCE // pixels))


def share_of_cpu_threads(workers: int) -> Callable[[], None]:
    """Return what each of so many Python threads is to call first, to take its share of this one's CPU threads."""
    threads = torch.get_num_threads()

    def take_share() -> None:
        torch.get_num_threads()  # or the first computation would take up the number that holds for new threads
        torch.set_num_threads(max(1, threads // workers))
        # That now holds for all threads that are yet to begin; another one restores what held for them.
        other = Thread(target=torch.set_num_threads, args=(threads,))
        other.start()
        other.join()

    return take_share
