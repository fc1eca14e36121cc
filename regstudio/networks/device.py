"""The device that a name stands for, and how its threads and memory are used."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from regstudio.errors import DeviceError

LARGEST_KEPT = 32 * 2**20  # bytes of one tensor: the most that glibc allows
KEPT_BYTES = 2**30


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

    It gives maps of a few megabytes back to the system each time, which then has to clear every page anew: without
    this, a registration at 256x256 takes 1.2 times as long. What is kept is at most KEPT_BYTES.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, LARGEST_KEPT)
        library.mallopt(trim_threshold, KEPT_BYTES)


@contextmanager
def cpu_threads(most: int | None) -> Iterator[None]:
    """Take at most that many CPU threads: another number takes sums in another order, and ends in other digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(most or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
