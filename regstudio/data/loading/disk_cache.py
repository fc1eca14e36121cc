"""A disk cache of decoded pictures that all runs share; the key is the file's content and the way it is read.

A renamed file is therefore a hit, and a changed one a miss. An entry is a .npy file with a checksum at its end. It is
memory-mapped and never unpickled; a damaged entry is written again.
"""

import hashlib
import io
import mmap
import os
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from regstudio.data.pictures.formats import extension
from regstudio.files import atomic_path

Array = npt.NDArray[Any]
FileState = tuple[int, ...]

READER_VERSION = 2  # part of the key: raise it when the readers give other arrays, and the old entries are misses
MIN_FREE_BYTES = 2e9  # disk space left to other programs
CHECKSUM_BYTES = 20


def file_state(path: Path) -> FileState | None:
    """Return size, times and inode of a file, which change with its content; None if they cannot be read."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


class _Entry(NamedTuple):
    """An entry with a valid checksum, and the state of the file that it was read from."""

    state: FileState
    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class DiskCache:
    """Thread-safe LRU cache of arrays in `folder` up to a budget; without write access or space, it only reads.

    When the budget is used up, it evicts the least recently used entries, but none that were used since this object was
    made. If that frees no space, nothing more is written.
    """

    def __init__(self, folder: Path, gigabytes: float, min_free_bytes: float = MIN_FREE_BYTES) -> None:
        self._folder, self._gigabytes, self._min_free_bytes = folder, gigabytes, min_free_bytes
        self._verified: dict[tuple[Hashable, Path], _Entry] = {}
        self._opened = time.time()
        self._reserved_bytes, self._full = 0.0, False
        self._lock = threading.Lock()

    def get(self, reader: Hashable, path: Path, state: FileState, load: Callable[[Path], Array]) -> Array:
        """Return the read-only cached array of `reader` and the file's content, on a miss load(path)."""
        entry = self._verified.get((reader, path))
        if entry is not None and entry.state == state and (array := self._map(entry)) is not None:
            return array
        key = _cache_key(reader, path)
        if key is None:
            return load(path)  # which says why the file cannot be read
        array = self._read_and_verify(key)
        if array is None:
            array = np.ascontiguousarray(load(path))
            # The file may have changed between hashing and loading; then the array does not belong to the key.
            if self._full or _cache_key(reader, path) != key or not self._write(key, array):
                return array
        self._verified[reader, path] = _Entry(state, key, array.dtype, array.shape)
        return array

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.npy"

    def _map(self, entry: _Entry) -> Array | None:
        """Return the memory-mapped array of a verified entry, or None if it is gone."""
        try:
            with self._path(entry.key).open("rb") as stream:  # np.load would parse the header again, which is slower
                content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            pixels = prod(entry.shape)
            start = len(content) - CHECKSUM_BYTES - pixels * entry.dtype.itemsize
            return np.frombuffer(content, entry.dtype, pixels, start).reshape(entry.shape)
        except (OSError, ValueError):
            return None

    def _read_and_verify(self, key: str) -> Array | None:
        """Return the array of an entry and mark it as recently used; None if it is missing or damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if content[-CHECKSUM_BYTES:] != _checksum(content[:-CHECKSUM_BYTES]):
            return None
        with suppress(OSError):  # a read-only folder
            os.utime(path)
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
        return array

    def _write(self, key: str, array: Array) -> bool:
        """Write an entry, and return whether there was room for it."""
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        content = stream.getvalue()
        if not self._reserve(len(content) + CHECKSUM_BYTES):
            return False
        try:
            with atomic_path(self._path(key), durable=False) as temporary:
                temporary.write_bytes(content + _checksum(content))
        except OSError:
            self._full = True
        return not self._full

    def _reserve(self, size: int) -> bool:
        """Take `size` bytes of the reserved space, and return whether there were as many."""
        with self._lock:
            if self._reserved_bytes < size and not self._full:
                self._reserved_bytes = self._evict(size)
                self._full = self._reserved_bytes < size
            self._reserved_bytes -= size
            return not self._full

    def _evict(self, size: int) -> float:
        """Remove the least recently used entries, and return how many bytes may be written until the next call."""
        # Only a part of what the budget leaves, since other programs write to this folder, too.
        share = max(self._gigabytes * 1e9 / 20, size)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            entries = sorted(_list_entries(self._folder))
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return 0
        used = sum(taken for _, taken, _ in entries)
        limit = min(self._gigabytes * 1e9, used + free - self._min_free_bytes)
        for last_used, taken, path in entries:
            if used + share <= limit or last_used >= self._opened:
                break
            with suppress(OSError):
                Path(path).unlink()
                used -= taken
        return min(share, limit - used)

    def __reduce__(self) -> tuple[type["DiskCache"], tuple[Path, float, float]]:
        """Pickle the folder and the budget, but no state."""
        return DiskCache, (self._folder, self._gigabytes, self._min_free_bytes)


def _cache_key(reader: Hashable, path: Path) -> str | None:
    """Return a hash of a file's content and of its reader; None if the file cannot be read."""
    start = f"{READER_VERSION} {extension(path)} {reader!r}\n".encode()
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(start, digest_size=20)).hexdigest()
    except OSError:
        return None


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()


def _list_entries(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Yield time of last use, size and path of each file in the subfolders."""
    with os.scandir(folder) as subfolders:
        for subfolder in subfolders:
            if subfolder.is_dir():
                with os.scandir(subfolder) as entries:
                    for entry in entries:
                        with suppress(OSError):  # another program may have removed it
                            state = entry.stat()
                            yield state.st_mtime, state.st_size, entry.path
