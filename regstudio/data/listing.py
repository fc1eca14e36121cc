"""Listing the picture files of folders by their names; what is no picture file is reported, never passed over."""

import heapq
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from regstudio.data.formats import EXTENSIONS, extension, stem
from regstudio.data.problems import Problem, Severity

POINTS_SUFFIX = "_points"
LABEL_SUFFIX = "_seg"
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(kw_only=True)
class Listing:
    """The picture files of each folder, listed once, and the problems met on the way."""

    problems: list[Problem] = field(default_factory=list)
    listed: dict[Path, list[Path] | None] = field(default_factory=dict)
    erroneous: set[Path] = field(default_factory=set)

    def add(self, severity: Severity, path: Path, what: str, remedy: str, *, left_out: bool = False) -> None:
        """Note a problem, unless an error has said already what is the matter with this very file or folder."""
        if path in self.erroneous:
            return
        if severity == "error":
            self.erroneous.add(path)
        self.problems.append(Problem(severity=severity, path=path, what=what, remedy=remedy, left_out=left_out))

    def pictures(self, folder: Path) -> list[Path] | None:
        """Return a folder's files of a supported format in natural order; None where there is no such folder."""
        if folder not in self.listed:
            try:
                self.listed[folder] = self._list(folder) if folder.is_dir() else None
            except PermissionError:
                self.listed[folder] = None
                self.add("error", folder, "may not be read (permission denied)", "Change its permissions.")
        return self.listed[folder]

    def _list(self, folder: Path) -> list[Path]:
        found = []
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: natural(entry.name)):
                path = folder / entry.name
                if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
                    continue
                if entry.name.endswith(f"{POINTS_SUFFIX}.csv"):  # landmarks, which evaluations look for
                    continue
                if entry.is_dir():
                    self.add("note", path, "folders within this folder are not looked into", "Move its files up.")
                elif not entry.is_file():
                    self.add("warning", path, "is no file (a broken link?)", "Put the file there.", left_out=True)
                elif not extension(entry.name):
                    remedy = f"Supported are {', '.join(EXTENSIONS)}."
                    self.add("warning", path, "this format is not supported", remedy, left_out=True)
                else:
                    found.append(path)
        return found


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a sorting key that puts 2 before 10."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)], name


def apart(pictures: list[Path]) -> tuple[list[Path], list[Path]]:
    """Tell images from the labels that lie among them: NAME_seg is a label where there is a NAME."""
    stems = [stem(path) for path in pictures]
    known = set(stems)
    images: list[Path] = []
    labels: list[Path] = []
    for path, name in zip(pictures, stems, strict=True):
        is_label = name.endswith(LABEL_SUFFIX) and name.removesuffix(LABEL_SUFFIX) in known
        (labels if is_label else images).append(path)
    return images, labels


def some(paths: list[Path]) -> str:
    """Return the first few names, and how many more there are."""
    named = ", ".join(path.name for path in heapq.nsmallest(5, paths, key=lambda path: natural(path.name)))
    return named if len(paths) <= 5 else f"{named} and {len(paths) - 5} more"
