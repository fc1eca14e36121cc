"""Decoded pictures kept for the epochs to come: in memory while there is room there, and the rest on disk.

A file that was changed is read anew: what is kept in memory bears the file's size, times and inode, and what is kept on
disk is found by the file's content.
"""

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from regstudio.data.disk_cache import DiskCache, Stamp, stamp_of

Array = npt.NDArray[Any]


class Cache:
    """Arrays kept in memory up to a budget, each as it was first loaded; once full, `disk` keeps the others, if given.

    Each epoch asks for every file once. Keeping the first ones then hits as often as memory allows, while dropping the
    least recently used would drop each file just before its turn. A copy handed to a loading process starts empty and
    takes an equal share of the budget.
    """

    def __init__(self, gigabytes: float, disk: DiskCache | None = None) -> None:
        self._gigabytes, self._disk = gigabytes, disk
        self._kept: dict[tuple[Hashable, Path], tuple[Stamp, Array]] = {}
        self._bytes, self._full = 0, False
        self._lock = threading.Lock()

    def get(self, reader: Hashable, path: Path, load: Callable[[Path], Array]) -> Array:
        """Return what `reader` makes of a file: the array kept, or load(path); never change it in place."""
        stamp = stamp_of(path)
        if stamp is None:
            return load(path)  # which says why the file cannot be read
        kept = self._kept.get((reader, path))
        if kept is not None and kept[0] == stamp:
            return kept[1]
        if self._full and self._disk is not None:
            return self._disk.get(reader, path, stamp, load)
        array = load(path)
        self._keep((reader, path), stamp, array)
        return array

    def _keep(self, key: tuple[Hashable, Path], stamp: Stamp, array: Array) -> None:
        worker = torch.utils.data.get_worker_info()
        budget = self._gigabytes * 1e9 / (worker.num_workers if worker else 1)
        with self._lock:
            if key in self._kept:  # the file was changed
                self._bytes -= self._kept.pop(key)[1].nbytes
            if self._bytes + array.nbytes <= budget:
                self._kept[key] = stamp, array
                self._bytes += array.nbytes
            else:
                self._full = True

    def __reduce__(self) -> tuple[type["Cache"], tuple[float, DiskCache | None]]:
        """Pickle the budget and where the disk's part lies alone."""
        return Cache, (self._gigabytes, self._disk)
