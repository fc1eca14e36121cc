"""Atomic writes, temporary files, full disks; the user's cache folder, and the package's assets."""

import errno
import hashlib
import importlib.resources
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import RawIOBase
from pathlib import Path

from regstudio.errors import DiskFullError, RegStudioError
from regstudio.temporary import new_folder, remove_leftovers_once, temporary_name

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no room, none for this user, none for a file of this size
PROBE_BYTES = 2**20
_REMEDIES = {
    errno.EACCES: "Change its permissions.",
    errno.EROFS: "Choose another folder.",
    errno.ENAMETOOLONG: "Give the file a shorter name.",
    errno.ENOENT: "Check the name.",
}


def cache_folder(name: str) -> Path:
    """Return regstudio/NAME in the user's cache folder, for files that can be made again; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "regstudio" / name


def asset(name: str) -> Path:
    """Return the path of a file in assets/, which is beside the package in a checkout and inside it in a wheel."""
    return Path(str(importlib.resources.files("regstudio.assets"))) / name


def read_asset(name: str) -> str:
    """Return the text of a script, style or page in assets/."""
    return asset(name).read_text(encoding="utf-8")


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Atomic write: yield a temporary path that replaces `path` when the block ends without an error.

    The temporary file is in the same folder and has the same extension, for writers that choose a format by it. With
    `durable` it is flushed to the disk (fsync) before the rename, so that it survives a power cut. After an error,
    `path` is unchanged; where the disk is full, that is a DiskFullError. Missing parent folders are made.

    >>> with atomic_path(Path("table.csv")) as temporary:
    ...     temporary.write_text("y,x")
    """
    temporary = path.with_name(temporary_name(path.name))
    with name_full_disk(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers_once(path.parent)
    try:
        with name_full_disk(path, temporary):
            yield temporary
            _refuse_cut_off(temporary)
            if durable:
                _sync(temporary)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The rename itself shall survive a power cut, too; only POSIX can sync a folder.
    if durable and os.name == "posix":
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append(path: Path, content: bytes) -> None:
    """Append to a file, all or nothing; raises DiskFullError. Only one process may append to it at a time."""
    with name_full_disk(path, path), path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            _write_all(file, content)
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new folder among the system's temporary files, and remove it after the block."""
    folder = new_folder(Path(tempfile.gettempdir()), "regstudio-")
    try:
        with name_full_disk(folder / "files", folder / "probe"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def name_full_disk(path: Path, probe: Path) -> Iterator[None]:
    """Turn an error in the block that comes from a full disk into a DiskFullError that names `path`.

    Native writers do not say why they fail: then a try to write more to `probe` tells, a file that may be spoilt.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, RegStudioError) or not _is_full(error, probe):
            raise
        raise DiskFullError(
            f"{path}: cannot be written, as the disk is full. Make room on the disk of {path.parent}; what was written "
            "before is unchanged."
        ) from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or the one that it comes from, says that a disk is full."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and (isinstance(error, DiskFullError) or error.errno in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def system_message(error: OSError) -> str:
    """Return the message for an error of the system; it names the file."""
    if isinstance(error, DiskFullError) or error.errno is None:
        return str(error)
    if not is_full(error):
        path = error.filename2 or error.filename or "A file"
        return f"{path}: {error.strerror}. {_REMEDIES.get(error.errno, 'Check the disk, and the name of the file.')}"
    return f"{error.filename or 'A file'}: cannot be written, as the disk is full. Make room, then try again."


def _is_full(error: Exception, probe: Path) -> bool:
    if is_full(error):
        return True
    if (isinstance(error, OSError) and error.errno is not None) or not probe.parent.is_dir():
        return False
    try:
        with probe.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write_all(file, bytes(PROBE_BYTES))
                os.fsync(file.fileno())
            finally:
                file.truncate(size)
    except OSError as refusal:
        return refusal.errno in FULL
    return False


def _write_all(file: RawIOBase, content: bytes) -> None:
    """Write all of it: an unbuffered file may take less at once."""
    while content:
        content = content[file.write(content) :]


def _refuse_cut_off(path: Path) -> None:
    """Raise OSError if the disk was full: then some native writers drop a file's end in silence (NumPy, TIFF, NRRD).

    A write that was cut off has filled the last block, so that not one byte more can be appended.
    """
    with path.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write(b"0")
        finally:
            file.truncate(size)


def _sync(path: Path) -> None:
    # Windows syncs only files that are open for writing; a folder can only be opened for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is a file that lies in `folder`, or below it, once links are followed."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links in a circle
        return False


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content; cached until its size or time of modification changes."""
    status = path.stat()
    return _content_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)  # the fixed image is part of every case
def _content_digest(path: Path, size: int, mtime: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
