"""Atomic writing of files, the user's cache folder, and the files that RegStudio brings along."""

import importlib.resources
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def cache_folder(name: str) -> Path:
    """Return regstudio/NAME in the user's cache folder, where what can be made anew is kept; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "regstudio" / name


def asset(name: str) -> Path:
    """Return where a file of assets/ lies: in a checkout beside the package, in a wheel within it."""
    return Path(str(importlib.resources.files("regstudio.assets"))) / name


def read_asset(name: str) -> str:
    """Return the text of a script, style or page in assets/."""
    return asset(name).read_text(encoding="utf-8")


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` once the block ends without an error.

    The temporary file lies in the same folder and keeps the name's ending, so that writers which choose a format
    by it work. It is flushed to the disk before it is renamed, unless it need not be `durable`: then a power cut may
    damage it. After an error, `path` is as it was. Missing parent folders are made.
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
    # Elsewhere a folder cannot be opened; here the rename itself is to survive a power cut.
    if durable and os.name == "posix":
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    # Windows syncs only files open for writing; a folder opens only for reading.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
