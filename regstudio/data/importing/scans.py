"""Find what a folder holds at any depth: image files, and the files of a DICOM series as one."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from regstudio.data.codecs.dicom import DICOM_ENDINGS, SliceFacts, is_dicom, slice_facts
from regstudio.data.folders.label_names import FILES as LABEL_NAMES
from regstudio.data.folders.listing import SYSTEM_FILES, may_be_points, natural_key
from regstudio.data.importing.words import POINTS
from regstudio.data.landmarks.files import points_stem
from regstudio.data.pictures.formats import extension, stem, translate_errors
from regstudio.data.problems import NOT_UNICODE, FileError, Problem, is_unicode

MAX_FILES = 200_000  # in a source
MAX_DEPTH = 12  # folders within folders
_OF_POINTS_ALONE = (".fcsv", ".mrk.json", ".pts")  # .csv and .txt may hold anything
_SAME_PLACE = 1e-3  # mm
_MAX_UNEVEN = 0.1  # of the distance of two slices

Permitted = Callable[[Path], bool]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One image file, or the files of one DICOM series in the order of their slices.

    `folders` and `name` say where it lies below the source. `key` names the array in an .npz file.
    """

    paths: tuple[Path, ...]
    folders: tuple[str, ...]
    name: str
    key: str | None = None

    @property
    def path(self) -> Path:
        """The first file."""
        return self.paths[0]

    @property
    def ending(self) -> str:
        """The ending of its files; that of DICOM where they have none."""
        return extension(self.path) or ".dcm"

    @property
    def is_series(self) -> bool:
        """Whether several files are one volume."""
        return len(self.paths) > 1


@dataclass(frozen=True, kw_only=True)
class Found:
    """The scans of a source in natural order, files that may hold landmarks, and what was left out."""

    scans: tuple[Scan, ...]
    points: tuple[Scan, ...]
    problems: tuple[Problem, ...]
    label_names: Path | None = None  # a file of names of labels


def find_scans(source: Path, permitted: Permitted = lambda path: True) -> Found:
    """List the images of a folder, or of a single file; raises FileError where there is none.

    Links to folders are not followed. Files that are not `permitted` are left out.
    """
    if not source.is_dir() and not source.is_file():
        raise FileError(source, "there is no such folder or file", "Name the folder of your images.")
    problems: list[Problem] = []
    if source.is_file():
        return Found(scans=(_scan(source, source.parent),), points=(), problems=())
    files, tables, others = _walk(source, permitted, problems)
    label_names = next((path for path in tables if path.name.lower() in LABEL_NAMES), None)
    tables = [path for path in tables if path.name.lower() not in LABEL_NAMES]
    names = {stem(path).lower() for path in files}
    points = [table for table in (_table(path, source) for path in tables) if _holds_points(table, names)]
    others.update(table.suffix.lower() for table in set(tables) - {table.path for table in points})
    if others:
        listed = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in others.most_common(5))
        what = f"{others.total()} files are no images ({listed})"
        problems.append(Problem(severity="note", path=source, what=what, remedy="They are left out.", left_out=True))
    if not files:
        raise FileError(source, "holds no image of a format that is read", "Name the folder of your images.")
    dicom = [path for path in files if extension(path) in DICOM_ENDINGS or not extension(path)]
    apart = set(dicom)
    scans = [_scan(path, source) for path in files if path not in apart]
    scans += _find_series(dicom, source, problems)
    scans.sort(key=lambda scan: [natural_key(part) for part in (*scan.folders, scan.name)])
    return Found(scans=tuple(scans), points=tuple(points), problems=tuple(problems), label_names=label_names)


def _walk(source: Path, permitted: Permitted, problems: list[Problem]) -> tuple[list[Path], list[Path], Counter[str]]:
    files: list[Path] = []
    tables: list[Path] = []
    others: Counter[str] = Counter()

    def refused(error: OSError) -> None:
        _leave_out(problems, Path(str(error.filename)), "may not be read", "Change its permissions.")

    for folder, below, names in os.walk(source, onerror=refused):
        below[:] = sorted((name for name in below if not name.startswith((".", "__MACOSX"))), key=natural_key)
        if len(Path(folder).relative_to(source).parts) >= MAX_DEPTH:
            below.clear()
        for name in sorted(names, key=natural_key):
            path = Path(folder) / name
            if name.startswith(".") or name.lower() in SYSTEM_FILES:
                continue
            if not is_unicode(path):
                _leave_out(problems, path, *NOT_UNICODE)
            elif not permitted(path):
                _leave_out(problems, path, "leads out of the folders that may be read", "Copy the file here.")
            elif may_be_points(name) or name.lower() in LABEL_NAMES:
                tables.append(path)
            elif extension(name) or is_dicom(path):
                files.append(path)
            else:
                others[PurePath(name).suffix.lower()[:12]] += 1
            if len(files) + others.total() > MAX_FILES:
                raise FileError(source, f"holds more than {MAX_FILES:,} files", "Import a part of it at a time.")
    return files, tables, others


def _leave_out(problems: list[Problem], path: Path, what: str, remedy: str) -> None:
    problems.append(Problem(severity="warning", path=path, what=what, remedy=remedy, left_out=True))


def _scan(path: Path, source: Path) -> Scan:
    return Scan(paths=(path,), folders=_folders(path, source), name=stem(path))


def _table(path: Path, source: Path) -> Scan:
    return Scan(paths=(path,), folders=_folders(path, source), name=points_stem(path))


def _holds_points(table: Scan, images: Collection[str]) -> bool:
    """Whether a table is one of landmarks by its ending, by a word for them, or by bearing the name of an image."""
    if table.path.name.lower().endswith(_OF_POINTS_ALONE) or POINTS.names(table.name, table.folders):
        return True
    return table.name.lower() in images


def _folders(path: Path, source: Path) -> tuple[str, ...]:
    return path.parent.relative_to(source).parts


def _find_series(paths: Sequence[Path], source: Path, problems: list[Problem]) -> list[Scan]:
    """Return a scan for each series of a folder that is a volume, and for each file of the others."""
    series: dict[tuple[Path, str], list[tuple[Path, SliceFacts]]] = defaultdict(list)
    for path in paths:
        try:
            with translate_errors(path):
                facts = slice_facts(path)
        except FileError as error:
            _leave_out(problems, path, error.what, error.remedy)
        else:
            series[path.parent, facts.series].append((path, facts))
    scans = []
    several = Counter(folder for folder, _ in series)
    for (folder, uid), slices in series.items():
        ordered = _ordered(slices) if uid and len(slices) > 1 else None
        if ordered is None:
            scans += [_scan(path, source) for path, _ in slices]
            continue
        parts = folder.relative_to(source).parts or ("series",)
        name = parts[-1] + (f"_{uid[-6:].strip('.')}" if several[folder] > 1 else "")
        scans.append(Scan(paths=ordered, folders=parts[:-1], name=name))
    return scans


def _ordered(slices: Sequence[tuple[Path, SliceFacts]]) -> tuple[Path, ...] | None:
    """Return the files of a series along its normal; None where they are no evenly spaced volume."""
    first = slices[0][1]
    if first.orientation is None or any(facts.position is None for _, facts in slices):
        return None
    if any(facts.orientation is None or not np.allclose(facts.orientation, first.orientation, atol=1e-3)
           for _, facts in slices):  # fmt: skip
        return None
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    placed = sorted((float(np.dot(normal, facts.position or ())), path) for path, facts in slices)
    gaps = np.diff([place for place, _ in placed])
    if gaps.min() < _SAME_PLACE or np.ptp(gaps) > _MAX_UNEVEN * gaps.mean():
        return None
    return tuple(path for _, path in placed)
