"""What the viewer keeps so that it need not be made again; safe to share between threads. No gradio here."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

from regstudio.methods.network import NetworkMethod, load_method

MAX_CACHED_NETWORKS = 4

Stamp = tuple[Path, int, int]
Made = TypeVar("Made")


def stamp(path: Path) -> Stamp:
    """Return what changes when the file is written anew."""
    found = path.stat() if path.is_file() else None
    return (path, found.st_mtime_ns, found.st_size) if found else (path, 0, 0)


class LRUCache(Generic[Made]):
    """Things that are slow to make, each made once; those used last are kept, of together at most `most` in `size`."""

    def __init__(self, most: int, size: Callable[[Made], int] = lambda _: 1) -> None:
        self._most, self._size = most, size
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Future[Made]] = OrderedDict()
        self._sizes: dict[Hashable, int] = {}

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what is kept under `key`, or make it; who asks while it is being made waits for it."""
        with self._lock:
            ours = key not in self._kept
            future = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
        if ours:
            self._make(key, future, make)
        return future.result()

    def _make(self, key: Hashable, future: Future[Made], make: Callable[[], Made]) -> None:
        try:
            made = make()
        except BaseException as error:
            with self._lock:
                del self._kept[key]  # whoever asks next tries again
            future.set_exception(error)
            return
        future.set_result(made)
        with self._lock:
            self._sizes[key] = self._size(made)
            for old in [old for old in self._kept if old in self._sizes and old != key]:
                if sum(self._sizes.values()) <= self._most:
                    break
                del self._kept[old], self._sizes[old]


class NetworkCache:
    """The networks used last, ready to register."""

    def __init__(self, most: int = MAX_CACHED_NETWORKS) -> None:
        self._kept: LRUCache[NetworkMethod] = LRUCache(most)

    def get(self, path: Path) -> NetworkMethod:
        """Return the network of a checkpoint; one that has been written anew since is loaded anew."""
        return self._kept.get(stamp(path), lambda: load_method(path))
