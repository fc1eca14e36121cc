"""Atomic writes, the user's cache folder, and the package's assets."""

import importlib.resources
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


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
    `path` is unchanged. Missing parent folders are made.

    >>> with atomic_path(Path("table.csv")) as temporary:
    ...     temporary.write_text("y,x")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.{path.name}")
    try:
        yield temporary
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


def _sync(path: Path) -> None:
    # Windows syncs only files that are open for writing; a folder can only be opened for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
