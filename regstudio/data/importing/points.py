"""Landmarks among files as they come: NAME_points.csv, landmarks/NAME.csv, NAME.fcsv and the like."""

from collections.abc import Sequence
from pathlib import Path

from regstudio.data.importing.labels import owned
from regstudio.data.importing.scans import Scan
from regstudio.data.importing.words import POINTS
from regstudio.data.landmarks.files import read_landmarks
from regstudio.data.problems import FileError, Problem


def pair_points(images: Sequence[Scan], tables: Sequence[Scan]) -> tuple[dict[Scan, Path], list[Problem]]:
    """Return the file of landmarks of each image that has one, and a problem for every file that is not used."""
    found, problems = owned(images, tables, POINTS)
    readable = {}
    for image, table in found.items():
        try:
            read_landmarks(table.path)
        except FileError as error:
            problems.append(
                Problem(severity="warning", path=error.path, what=error.what, remedy=error.remedy, left_out=True)
            )
        else:
            readable[image] = table.path
    return readable, problems


def of_a_slice(path: Path) -> Problem:
    """Return what to say of the landmarks of a volume, which are none of its slices."""
    what, remedy = "belongs to a volume, of which slices are cut", "Mark the slices themselves."
    return Problem(severity="warning", path=path, what=what, remedy=remedy, left_out=True)
