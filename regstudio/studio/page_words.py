"""Messages in the page's own words: they were written for the command line, whose flags the page does not have."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from regstudio.config import settings
from regstudio.data.problems import FileError
from regstudio.errors import DataError, RegStudioError

NO_TRAINING = "no training"  # stands in the list of runs; its checkpoints are the names of methods

_FLAG = re.compile(r"--(no-)?(\w+)")
_RESUME = re.compile(r"(?:, or go on with it: |Go on with: |Go on with )(?:regstudio train )?--resume \S+")
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:|~)?[/\\](?:[^\s/\\:'\"<>|,;()]+[/\\])*(?=[^\s/\\])")
# In place of a remedy of which the Viewer has no field: it reads files as the run's data were read.
_OWN_REMEDIES = {
    "slice_axis": "Drop in a file that holds one slice.",
    "image_key": "Drop in a file that holds one array.",
}


def on_the_page(text: str) -> str:
    """Return a message with flags replaced by the names of the page's fields."""
    on_data_tab = {setting.name for setting in settings("layout", "reading") if not setting.resumable}
    known = {setting.name for setting in settings()}

    def field(match: re.Match[str]) -> str:
        name = match[2]
        if name not in known:
            return match[0]
        if name == "data_base_dir":
            return "the field Data folder"
        named = f"“{name.replace('_', ' ')}”{' at “no”' if match[1] else ''}"
        return f"{named} under Advanced" if name in on_data_tab else named

    return _FLAG.sub(field, _RESUME.sub(_go_on, text))


def of_own_images(error: RegStudioError, files: Mapping[str, Path | None]) -> DataError:
    """Return the error of an image that the user dropped in: with its own name, and a remedy that the Viewer has."""
    paths = [path for path in files.values() if path is not None]
    if not isinstance(error, FileError):
        return DataError(on_the_page(_named(str(error), paths)))
    remedy = next((own for flag, own in _OWN_REMEDIES.items() if f"--{flag}" in error.remedy), error.remedy)
    path = Path(error.path.name) if error.path in paths else error.path
    return FileError(path, on_the_page(_named(error.what, paths)), on_the_page(_named(remedy, paths)))


def without_folders(text: str, folders: Iterable[Path]) -> str:
    """Return a message for guests: files by their names alone, in these folders and in any other."""
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "").replace(folder, "the host's folder")
    return _FOLDERS.sub("", text)


def _named(text: str, paths: Iterable[Path]) -> str:
    """Return the text with the paths of uploads, which mean nothing to the user, as the names of the files."""
    for path in paths:
        text = text.replace(str(path), path.name).replace(f"{path.parent}/", "")
    return text


def _go_on(match: re.Match[str]) -> str:
    start = ", or go on with it" if match[0].startswith(",") else "Go on with it"
    return f"{start} under “Go on with a run”"
