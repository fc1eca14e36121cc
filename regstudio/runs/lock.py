"""The lock of a run: one trainer holds it, and anyone may ask whether it is held without changing anything."""

import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 5.0  # seconds in which those who only ask must let go of the lock again


def acquire(path: Path) -> FileLock | None:
    """Return the lock, acquired; None if another trainer holds it. Raises OSError if it cannot be made."""
    lock, end = FileLock(path), time.monotonic() + PATIENCE
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            # Asking takes a shared lock for an instant, which keeps an exclusive one out as well.
            if is_held(path) or time.monotonic() > end:
                return None
            time.sleep(0.005)
        else:
            return lock


if sys.platform == "win32":

    def is_held(path: Path) -> bool:
        """Whether a trainer holds the lock."""
        if not path.is_file():
            return False
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0.1, poll_interval=0.01)  # another who asks lets go at once
        except Timeout:
            return True
        except OSError:
            return False
        lock.release()
        return False

else:
    import fcntl

    def is_held(path: Path) -> bool:
        """Whether a trainer holds the lock. Any number may ask at once, also where nothing may be written."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:  # never locked, or no lock of ours
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a disk without locks
            return False
        finally:
            os.close(descriptor)  # releases it
        return False
