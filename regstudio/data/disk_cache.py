"""Decoded pictures in a folder that all runs share, each found by the content of its file and by how it is read.

So a file that is renamed is known again, and one that is changed is not mistaken for what it was. An entry is a .npy
file, read memory-mapped and never unpickled, with a checksum at its end: one that is damaged is made anew.
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

from regstudio.data.formats import extension
from regstudio.files import atomic_path

Array = npt.NDArray[Any]
Stamp = tuple[int, ...]

VERSION = 1  # of what readers make of a file: entries of another one are not found
MIN_FREE_BYTES = 2e9  # bytes of the disk that are left to others
_SEAL = 20  # bytes of the checksum


def stamp_of(path: Path) -> Stamp | None:
    """Return what changes with a file's content, or None where its state cannot be read."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


class _Entry(NamedTuple):
    """What was found whole for a file that bears `stamp`."""

    stamp: Stamp
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class DiskCache:
    """Arrays kept in `folder` up to a budget; a folder that cannot be written to, or a full disk, is done without.

    When the budget is used up, what was not asked for since this cache was made goes, the least recently used first;
    where that brings no room, the folder stays as it is.
    """

    def __init__(self, folder: Path, gigabytes: float) -> None:
        self._folder, self._gigabytes = folder, gigabytes
        self._known: dict[tuple[Hashable, Path], _Entry] = {}
        self._opened = time.time()
        self._room, self._full = 0.0, False
        self._lock = threading.Lock()

    def get(self, reader: Hashable, path: Path, stamp: Stamp, load: Callable[[Path], Array]) -> Array:
        """Return what `reader` makes of a file that bears `stamp`, from the folder or by load(path); read-only."""
        known = self._known.get((reader, path))
        if known is not None and known.stamp == stamp and (array := self._mapped(known)) is not None:
            return array
        name = _name(reader, path)
        if name is None:
            return load(path)  # which says why the file cannot be read
        array = self._whole(name)
        if array is None:
            array = np.ascontiguousarray(load(path))
            # Named anew, for the file may have changed between the two readings.
            if self._full or _name(reader, path) != name or not self._store(name, array):
                return array
        self._known[reader, path] = _Entry(stamp, name, array.dtype, array.shape)
        return array

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.npy"

    def _mapped(self, entry: _Entry) -> Array | None:
        """Return an entry that was found whole before, or None if it is gone."""
        try:
            with self._path(entry.name).open("rb") as stream:  # np.load parses the header anew, which takes longer
                content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            pixels = prod(entry.shape)
            start = len(content) - _SEAL - pixels * entry.dtype.itemsize
            return np.frombuffer(content, entry.dtype, pixels, start).reshape(entry.shape)
        except (OSError, ValueError):
            return None

    def _whole(self, name: str) -> Array | None:
        """Return an entry and note that it is of use, or None where there is none that is whole."""
        path = self._path(name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if content[-_SEAL:] != _seal(content[:-_SEAL]):
            return None
        with suppress(OSError):  # a folder that is read-only
            os.utime(path)
        array: Array = np.load(io.BytesIO(content), allow_pickle=False)
        return array

    def _store(self, name: str, array: Array) -> bool:
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=False)
        content = stream.getvalue()
        if not self._reserve(len(content) + _SEAL):
            return False
        try:
            with atomic_path(self._path(name), durable=False) as temporary:
                temporary.write_bytes(content + _seal(content))
        except OSError:
            self._full = True
        return not self._full

    def _reserve(self, size: int) -> bool:
        """Return whether there is room for an entry, and count it as taken."""
        with self._lock:
            if self._room < size and not self._full:
                self._room = self._make_room(size)
                self._full = self._room < size
            self._room -= size
            return not self._full

    def _make_room(self, size: int) -> float:
        """Remove what was not used of late, and return how many bytes may be written before looking again."""
        # Not all that is left of the budget: other programs write there, too.
        share = max(self._gigabytes * 1e9 / 20, size)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            entries = sorted(_entries(self._folder))
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return 0
        used = sum(taken for _, taken, _ in entries)
        most = min(self._gigabytes * 1e9, used + free - MIN_FREE_BYTES)
        for changed, taken, path in entries:
            if used + share <= most or changed >= self._opened:
                break
            with suppress(OSError):
                Path(path).unlink()
                used -= taken
        return min(share, most - used)

    def __reduce__(self) -> tuple[type["DiskCache"], tuple[Path, float]]:
        """Pickle the folder and the budget alone."""
        return DiskCache, (self._folder, self._gigabytes)


def _name(reader: Hashable, path: Path) -> str | None:
    """Return the name of what `reader` makes of a file's content; None where that cannot be read."""
    start = f"{VERSION} {extension(path)} {reader!r}\n".encode()
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.blake2b(start, digest_size=20)).hexdigest()
    except OSError:
        return None


def _seal(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SEAL).digest()


def _entries(folder: Path) -> Iterator[tuple[float, int, str]]:
    """Yield when each file of the folder was last used, its size and path."""
    with os.scandir(folder) as shelves:
        for shelf in shelves:
            if shelf.is_dir():
                with os.scandir(shelf) as entries:
                    for entry in entries:
                        with suppress(OSError):  # another program may have removed it
                            state = entry.stat()
                            yield state.st_mtime, state.st_size, entry.path
