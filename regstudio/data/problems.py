"""What can be wrong with a file or folder of data: as an exception where one file is read, as data where many are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regstudio.errors import DataError

Severity = Literal["error", "warning", "note"]


class FileError(DataError):
    """A file or folder cannot be used; carries the path, what is wrong with it, and what to do."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(path, what, remedy)  # the arguments, so that a loading process can hand the error over
        self.path, self.what, self.remedy = path, what, remedy

    def __str__(self) -> str:
        """Return the sentence for the user."""
        return f"{self.path}: {self.what}. {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something a user should know about a file or folder.

    An error stops a training before it starts, a warning does not, and a note only says what was decided. `left_out`
    tells whether the file goes unused because of it.
    """

    severity: Severity
    path: Path
    what: str
    remedy: str
    left_out: bool = False

    def __str__(self) -> str:
        """Return the sentence for the user."""
        return f"{self.path}: {self.what}. {self.remedy}"
