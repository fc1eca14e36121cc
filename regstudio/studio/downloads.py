"""Files that the page makes for a download: each in a folder of its own, removed some time after it is complete.

Two pages may make one of the same name at once; neither may remove, or get, the other's.
"""

import shutil
import time
from pathlib import Path
from uuid import uuid4

from regstudio.temporary import lasting_folder

LIFETIME_SECONDS = 600  # the browser fetches a file at once


class Downloads:
    """A folder among the system's temporary files for the downloads of one tab; it is removed when the program ends."""

    def __init__(self) -> None:
        self._folder = lasting_folder()

    def place(self, name: str) -> Path:
        """Return the path of a new file `name`, to be written atomically; remove complete files that are old."""
        for folder in self._folder.iterdir():
            files = list(folder.glob("[!.]*"))  # none while it is being made
            if files and all(file.stat().st_mtime < time.time() - LIFETIME_SECONDS for file in files):
                shutil.rmtree(folder, ignore_errors=True)
        path = self._folder / uuid4().hex / name
        path.parent.mkdir()
        return path
