"""Recent folders, and the subfolders of a folder."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from regstudio.data.folders.listing import natural_key
from regstudio.errors import ConfigError, DataError
from regstudio.files import write_text

MAX_RECENT = 8  # folders remembered
MAX_SHOWN = 300  # subfolders of one folder
MAX_RECORD_BYTES = 2**16  # a longer file was not written here

Allowed = Callable[[str], Path]  # resolves a path, or raises ConfigError


def state_dir() -> Path:
    """Return the folder for what RegStudio remembers for this user."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "regstudio"
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "regstudio"


class RecentFolders:
    """The recent data folders, newest first, in a small JSON file that outlives the program."""

    def __init__(self, record: Path | None = None) -> None:
        self._record = record or state_dir() / "recent.json"

    def read(self, allowed: Allowed) -> list[Path]:
        """Return the folders that exist and may be opened; none if the file is missing or damaged."""
        folders = []
        for name in self._names():
            with suppress(ConfigError, OSError, ValueError, RuntimeError):
                folder = allowed(name)
                if folder.is_dir() and folder not in folders:
                    folders.append(folder)
        return folders[:MAX_RECENT]

    def add(self, folder: Path) -> None:
        """Put a folder first; do nothing if the JSON file cannot be written."""
        names = [str(folder), *(name for name in self._names() if name != str(folder))]
        with suppress(OSError):
            write_text(self._record, json.dumps(names[:MAX_RECENT], indent=2) + "\n")

    def _names(self) -> list[str]:
        try:
            with self._record.open(encoding="utf-8") as stream:
                names = json.loads(stream.read(MAX_RECORD_BYTES))
        except (OSError, ValueError, RecursionError):
            return []
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


@dataclass(frozen=True, kw_only=True)
class Subfolders:
    """The folders next to a folder: its parent, if that may be opened, and its subfolders."""

    folder: Path
    parent: Path | None
    names: tuple[str, ...]
    more: int  # subfolders that are not among the names


def subfolders(folder: str, allowed: Allowed) -> Subfolders:
    """List the subfolders of a folder, without hidden ones and links that lead out of bounds.

    Raises ConfigError if the folder itself is out of bounds, and DataError if it cannot be listed.
    """
    path = allowed(folder)
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such folder. Go up, or type another.") from None
    except NotADirectoryError:
        raise DataError(f"{path}: is a file, not a folder. Go up, or type another.") from None
    except OSError as error:
        reason = "permission denied" if isinstance(error, PermissionError) else error.strerror
        raise DataError(f"{path}: may not be read ({reason}). Choose another folder.") from None
    inside = [name for name in sorted(names, key=natural_key) if _may_open(path / name, allowed)]
    parent = path.parent if path.parent != path and _may_open(path.parent, allowed) else None
    return Subfolders(folder=path, parent=parent, names=tuple(inside[:MAX_SHOWN]), more=max(0, len(inside) - MAX_SHOWN))


def nearest_folder(folder: str, allowed: Allowed) -> Path | None:
    """Return the folder itself, or else the nearest one above it, that can be listed; None if there is none."""
    path = Path(folder.strip() or ".").expanduser()
    return next((place for place in (path, *path.parents) if _can_list(place, allowed)), None)


def _can_list(path: Path, allowed: Allowed) -> bool:
    try:
        subfolders(str(path), allowed)
    except (ConfigError, DataError, OSError, ValueError, RuntimeError):
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into an unreadable folder
        return False


def _may_open(path: Path, allowed: Allowed) -> bool:
    try:
        allowed(str(path))
    except (ConfigError, OSError, RuntimeError):  # RuntimeError: links in a circle
        return False
    return True
