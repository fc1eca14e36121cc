"""The device that a name stands for."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from regstudio.errors import DeviceError


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


@contextmanager
def cpu_threads(most: int | None) -> Iterator[None]:
    """Take at most that many CPU threads: another number takes sums in another order, and ends in other digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(most or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
