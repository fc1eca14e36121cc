"""Problems of files and folders: FileError is raised when one file is read, Problem is reported when many are."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regstudio.errors import DataError, printable

Severity = Literal["error", "warning", "note"]
# What the page can do about a problem: let images fill the grid or keep their shape, give labels the size of their
# images, take an image in again, set a part of the subjects apart to validate on.
Mend = Literal["", "fill", "keep_shape", "resize", "take_in", "set_apart"]
NOT_UNICODE = "its name is not UTF-8", "Rename it."


class FileError(DataError):
    """A file or folder cannot be used; has the path, what is wrong, and the remedy."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(path, what, remedy)  # all arguments, so that the error can be pickled between processes
        self.path, self.what, self.remedy = path, printable(what), remedy

    def __str__(self) -> str:
        """Return the sentence for the user."""
        return printable(f"{shown_path(self.path)}: {self.what}. {self.remedy}")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A fact about a file or folder that the user should know.

    An error prevents training, a warning does not, and a note states a decision. `left_out` says whether the file is
    not used because of it; `mend` is what the page can do about it.
    """

    severity: Severity
    path: Path
    what: str
    remedy: str
    left_out: bool = False
    mend: Mend = ""

    def __str__(self) -> str:
        """Return the sentence for the user."""
        return printable(f"{shown_path(self.path)}: {self.what}. {self.remedy}")


def is_unicode(path: str | Path) -> bool:
    """Return whether a path is text; names from other systems may be bytes that are not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown_path(path: str | Path, root: Path | None = None) -> str:
    """Return a path as text that can be printed and stored, bytes that are not UTF-8 as \\xNN.

    A path within the folder `root` is shown from there on, and the folder itself as it was named.
    """
    if root is not None and isinstance(path, Path) and path != root and path.is_relative_to(root):
        path = path.relative_to(root)
    return printable(str(path) if is_unicode(path) else os.fsencode(path).decode("utf-8", "backslashreplace"))
