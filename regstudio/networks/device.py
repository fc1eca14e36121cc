"""The device that a name stands for, and how its memory is used."""

import ctypes
import gc
from contextlib import suppress
from threading import RLock

import torch

from regstudio.errors import DeviceError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
# Held while a thread captures a CUDA graph: meanwhile, no other may wait for the GPU, or give memory back.
CAPTURING = RLock()
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
    """Give back to the system, and on a GPU to others, what was kept and is not in use."""
    _call_glibc("malloc_trim", 0)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        with CAPTURING:
            torch.cuda.empty_cache()


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what this thread gave it to do; the CPU has already."""
    if device.type == "cuda":
        with CAPTURING:
            torch.cuda.current_stream(device).synchronize()


def _call_glibc(function: str, *arguments: int) -> None:
    with suppress(OSError, AttributeError, TypeError):
        getattr(ctypes.CDLL(None), function)(*arguments)


def images_at_once(device: torch.device, pixels: int) -> int:
    """Return how many images of so many pixels each are best computed at once; on the CPU, small ones share its cores.

    Of 256x256 on two cores, two at once take 0.75 of the time.
    """
    return 1 if device.type != "cpu" else max(1, min(torch.get_num_threads(), PIXELS_AT_ONCE // pixels))
