"""An in-memory cache of decoded pictures, which overflows to the disk cache.

A changed file is read again: the memory cache compares size, times and inode, the disk cache the file's content.
"""

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from regstudio.data.loading.disk_cache import DiskCache, FileState, file_state

Array = npt.NDArray[Any]


class Cache:
    """Thread-safe cache of arrays up to a budget in memory; when it is full, new arrays go to `disk`, if given.

    Nothing is evicted. An epoch asks for every file once: the first arrays then give as many hits as memory allows,
    whereas an LRU cache would evict each file just before its turn. A copy in a loading process starts empty and has
    an equal share of the budget.

    >>> load = ImageLoader(cache=Cache(2))
    >>> image = load("moving/a.png")  # decoded at the first call only
    """

    def __init__(self, gigabytes: float, disk: DiskCache | None = None) -> None:
        self._gigabytes, self._disk = gigabytes, disk
        self._arrays: dict[tuple[Hashable, Path], tuple[FileState, Array]] = {}
        self._bytes, self._full = 0, gigabytes <= 0
        self._lock = threading.Lock()

    def get(self, reader: Hashable, path: Path, load: Callable[[Path], Array]) -> Array:
        """Return the cached array of `reader` and `path`, on a miss load(path); do not change it in place."""
        state = file_state(path)
        if state is None:
            return load(path)  # which says why the file cannot be read
        cached = self._arrays.get((reader, path))
        if cached is not None and cached[0] == state:
            return cached[1]
        if self._full and self._disk is not None:
            return self._disk.get(reader, path, state, load)
        array = load(path)
        self._put((reader, path), state, array)
        return array

    def _put(self, key: tuple[Hashable, Path], state: FileState, array: Array) -> None:
        worker = torch.utils.data.get_worker_info()
        budget = self._gigabytes * 1e9 / (worker.num_workers if worker else 1)
        with self._lock:
            if key in self._arrays:  # the file has changed
                self._bytes -= self._arrays.pop(key)[1].nbytes
            if self._bytes + array.nbytes <= budget:
                self._arrays[key] = state, array
                self._bytes += array.nbytes
            else:
                self._full = True

    def __reduce__(self) -> tuple[type["Cache"], tuple[float, DiskCache | None]]:
        """Pickle the budget and the disk cache, but no arrays."""
        return Cache, (self._gigabytes, self._disk)
