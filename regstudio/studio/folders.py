"""Finding a folder: those used lately, and the subfolders of one. No gradio here."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from regstudio.data.listing import natural_key
from regstudio.errors import ConfigError, DataError
from regstudio.files import write_text

MAX_RECENT = 8  # folders remembered
MAX_SHOWN = 300  # subfolders of one folder
MAX_RECORD_BYTES = 2**16  # bytes; a longer one is none of ours

Allowed = Callable[[str], Path]  # resolves a path, or raises ConfigError


def state_dir() -> Path:
    """Return the folder in which this user's programs remember things."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "regstudio"
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "regstudio"


class RecentFolders:
    """The data folders chosen lately, the latest first, kept from one day to the next in a small JSON file."""

    def __init__(self, record: Path | None = None) -> None:
        self._record = record or state_dir() / "recent.json"

    def read(self, allowed: Allowed) -> list[Path]:
        """Return those that are still there and may be opened; nothing where the file is missing or damaged."""
        folders = []
        for name in self._names():
            with suppress(ConfigError, OSError, ValueError, RuntimeError):
                folder = allowed(name)
                if folder.is_dir() and folder not in folders:
                    folders.append(folder)
        return folders[:MAX_RECENT]

    def add(self, folder: Path) -> None:
        """Put a folder first. A state folder that cannot be written to costs the memory, and no more."""
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
    """What can be reached from a folder: the one above, if it may be opened, and those in it."""

    folder: Path
    above: Path | None
    names: tuple[str, ...]
    more: int  # that are there and not among the names


def subfolders(folder: str, allowed: Allowed) -> Subfolders:
    """List the folders within a folder, hidden ones and links that lead out of bounds left out.

    Raises ConfigError where the folder itself is out of bounds, and DataError where it cannot be listed.
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
    above = path.parent if path.parent != path and _may_open(path.parent, allowed) else None
    return Subfolders(folder=path, above=above, names=tuple(inside[:MAX_SHOWN]), more=max(0, len(inside) - MAX_SHOWN))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that may not be read
        return False


def _may_open(path: Path, allowed: Allowed) -> bool:
    try:
        allowed(str(path))
    except (ConfigError, OSError, RuntimeError):  # RuntimeError: links that lead in a circle
        return False
    return True
