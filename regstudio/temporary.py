"""Names of temporary files and folders that tell whose they are, so that those of killed processes can be removed.

A process that is killed (kill -9, a power cut, too little memory) leaves its temporary files. Their names hold its
number and its machine; once it is gone, the next process that writes to that folder removes them.
"""

import atexit
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

FOREIGN_SECONDS = 24 * 3600  # after which a file of another machine, whose processes are not known, is left over
MAX_NAME = 50  # characters of a file's name that its temporary name repeats; names have 255 bytes at most
_FILE = re.compile(r"\.[0-9a-f]{16}([0-9a-f]{8})([0-9a-f]{8})\..+", re.DOTALL)
_FOLDER = re.compile(r"(?:regstudio-|\.upload-)([0-9a-f]{8})([0-9a-f]{8})-.+", re.DOTALL)

_visited: set[Path] = set()
_lock = threading.Lock()


def temporary_name(name: str) -> str:
    """Return a new name for a temporary file beside the file `name`, with the same extension."""
    return f".{uuid4().hex[:16]}{_machine()}{os.getpid():08x}.{name[-MAX_NAME:]}"


def remove_leftovers_once(folder: Path) -> None:
    """Remove the leftovers in a folder, if this process has not done so yet."""
    with _lock:
        if folder in _visited:
            return
        _visited.add(folder)
    remove_leftovers(folder)


def remove_leftovers(folder: Path, *, alone: bool = False) -> None:
    """Remove the temporary files and folders of ours in a folder whose processes are gone.

    Where the caller is `alone` in writing there, as it holds a lock, this includes those of other machines.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _FILE.fullmatch(entry.name) or _FOLDER.fullmatch(entry.name)
            if match is None:
                continue
            with suppress(OSError):
                state = entry.stat(follow_symlinks=False)
                machine, process = match.groups()
                if _is_left_over(machine, int(process, 16), state.st_mtime, alone=alone):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink()


def lasting_folder() -> Path:
    """Make a folder among the system's temporary files, and remove it when the program ends."""
    folder = new_folder(Path(tempfile.gettempdir()), "regstudio-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_folder(parent: Path, prefix: str) -> Path:
    """Make a folder in `parent` for this user alone; `prefix` is "regstudio-", or ".upload-"."""
    remove_leftovers_once(parent)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{_machine()}{os.getpid():08x}-", dir=parent))


def _machine() -> str:
    """Return eight hexadecimal digits for the machine, or the container, in which process numbers are unique."""
    with suppress(OSError):
        return f"{zlib.crc32((socket.gethostname() + str(Path('/proc/self/ns/pid').readlink())).encode()):08x}"
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _is_left_over(machine: str, process: int, changed: float, *, alone: bool) -> bool:
    if machine != _machine():
        return alone or time.time() - changed > FOREIGN_SECONDS
    return not _is_alive(process)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # asking there would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
