"""List the picture files of folders; every other file is reported as a problem."""

import heapq
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from regstudio.data.codecs.dicom import is_dicom
from regstudio.data.pictures.formats import EXTENSIONS, extension, stem
from regstudio.data.problems import NOT_UNICODE, Mend, Problem, Severity, is_unicode, shown_path

POINTS_SUFFIX = "_points"
POINTS_ENDINGS = (".csv", ".fcsv", ".mrk.json", ".txt", ".pts")
LABEL_SUFFIX = "_seg"
MASK_SUFFIX = "_mask"  # beside an image its label, in a folder of masks a mask
OTHER_LABEL_SUFFIXES = (MASK_SUFFIX, "_label", "_labels", "_gt")  # of labels beside their images
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(kw_only=True)
class FolderListing:
    """The picture files of each folder, listed once and cached, and the problems found."""

    problems: list[Problem] = field(default_factory=list)
    _cache: dict[Path, list[Path] | None] = field(default_factory=dict)
    _paths_with_error: set[Path] = field(default_factory=set)

    def add(
        self, severity: Severity, path: Path, what: str, remedy: str, *, left_out: bool = False, mend: Mend = ""
    ) -> None:
        """Add a problem, unless there is an error for the same path already."""
        if path in self._paths_with_error:
            return
        if severity == "error":
            self._paths_with_error.add(path)
        self.problems.append(
            Problem(severity=severity, path=path, what=what, remedy=remedy, left_out=left_out, mend=mend)
        )

    def pictures(self, folder: Path) -> list[Path] | None:
        """Return a folder's files of a supported format in natural order; None if there is no such folder."""
        if folder not in self._cache:
            try:
                self._cache[folder] = self._list(folder) if folder.is_dir() else None
            except PermissionError:
                self._cache[folder] = None
                self.add("error", folder, "may not be read (permission denied)", "Change its permissions.")
        return self._cache[folder]

    def _list(self, folder: Path) -> list[Path]:
        found = []
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: natural_key(entry.name)):
                path = folder / entry.name
                if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES:
                    continue
                if is_points_file(entry.name):  # landmarks, which data.points finds
                    continue
                if not is_unicode(entry.name):
                    self.add("warning", path, *NOT_UNICODE, left_out=True)
                elif path.is_dir():
                    self.add("note", path, "folders within this folder are not looked into", "Move its files up.")
                elif not path.is_file():  # not that of `entry`, which raises an error for a loop of links
                    self.add("warning", path, "is no file (a broken link?)", "Put the file there.", left_out=True)
                elif not extension(entry.name) and not is_dicom(path):
                    remedy = f"Supported are {', '.join(EXTENSIONS)}."
                    self.add("warning", path, "this format is not supported", remedy, left_out=True)
                else:
                    found.append(path)
        return found


def is_points_file(name: str) -> bool:
    """Return whether a file of this name holds landmarks: NAME_points.csv, .fcsv, .mrk.json, .txt or .pts."""
    return name.endswith(tuple(POINTS_SUFFIX + ending for ending in POINTS_ENDINGS))


def may_be_points(name: str) -> bool:
    """Return whether a file of this name may hold landmarks, by its ending."""
    return name.lower().endswith(POINTS_ENDINGS)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key for natural order: 2 before 10."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)], name


def split_images_and_labels(pictures: list[Path]) -> tuple[list[Path], list[Path]]:
    """Split the files of a folder into images and labels: NAME_seg, or NAME_mask, is a label if there is a NAME."""
    stems = [stem(path) for path in pictures]
    names = set(stems)
    images: list[Path] = []
    labels: list[Path] = []
    for path, name in zip(pictures, stems, strict=True):
        (labels if label_owner(name) in names else images).append(path)
    return images, labels


def label_owner(name: str) -> str | None:
    """Return the name of the image that a label of this name, without its ending, lies beside: NAME of NAME_seg."""
    endings = (LABEL_SUFFIX, *OTHER_LABEL_SUFFIXES)
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), None)


def short_list(paths: list[Path]) -> str:
    """Return the first five names in natural order, and how many more there are."""
    text = ", ".join(
        shown_path(path.name) for path in heapq.nsmallest(5, paths, key=lambda path: natural_key(path.name))
    )
    return text if len(paths) <= 5 else f"{text} and {len(paths) - 5} more"
