"""An LRU cache that threads may share."""

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import cachetools

Value = TypeVar("Value")
Stamp = tuple[Path, int, int]


def stamp(path: Path) -> Stamp:
    """Return the path, time of change and size of a file: a new stamp means that the file has changed."""
    status = path.stat() if path.is_file() else None
    return (path, status.st_mtime_ns, status.st_size) if status else (path, 0, 0)


class LRUCache(Generic[Value]):
    """Thread-safe LRU cache that makes missing values, each once: one lock for each key.

    It keeps the values used last, of at most `max_size` together; `size` measures one, by default as 1.
    """

    def __init__(self, max_size: int, size: Callable[[Value], int] = lambda _: 1) -> None:
        # A value larger than the whole cache counts as exactly as large: it is cached, and nothing else.
        self._values: cachetools.LRUCache[Hashable, Value] = cachetools.LRUCache(
            max_size, getsizeof=lambda value: min(max_size, size(value))
        )
        self._lock = threading.Lock()  # held for an instant; a key's lock is held while its value is made
        self._key_locks: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`; make it if it is missing, or wait for the thread that is making it."""
        with self._lock:
            key_lock = self._key_locks.setdefault(key, threading.Lock())
        with key_lock:
            with self._lock:
                if key in self._values:
                    return self._values[key]
            value = make()
            with self._lock:
                self._values[key] = value
            return value

    def forget(self, key: Hashable) -> None:
        """Make the value of `key` anew when it is asked for next."""
        with self._lock:
            self._values.pop(key, None)

    def get_file(self, path: Path, load: Callable[[Path], Value]) -> Value:
        """Return what `load` makes of a file; load it again once the file has changed."""
        return self.get(stamp(path), lambda: load(path))
