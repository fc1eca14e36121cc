"""Write the data folder that a plan describes: whole files are copied or linked, slices are cut out."""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from regstudio.data.folders.listing import LABEL_SUFFIX, POINTS_SUFFIX
from regstudio.data.importing.plan import ImportPlan, Item
from regstudio.data.importing.scans import Scan
from regstudio.data.importing.slices import read_slices
from regstudio.data.landmarks.files import points_stem
from regstudio.data.pictures.picture import Picture
from regstudio.data.pictures.writing import output_extension, write_image, write_label
from regstudio.data.problems import FileError, Problem, shown_path
from regstudio.errors import DataError
from regstudio.files import name_full_disk, write_text
from regstudio.temporary import new_folder

RECORD = "import.json"
_FOLDERS = {"atlas": "fixed", "train": "moving", "validation": "validation_moving"}
_MADE_KEYS = {False: "img", True: "label"}  # of the arrays in .npz files that are written

Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The new data folder, how many pictures lie in it, and what was left out."""

    folder: Path
    pictures: int
    problems: tuple[Problem, ...]


def refuse_taken(out: Path, source: Path | None = None) -> None:
    """Raise DataError unless `out` is new or empty, and lies outside the source."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out}: is there already. Name a new folder.")
    if source is not None and source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{out}: lies in the folder that is imported, which stays as it is. Name one elsewhere.")


def write_plan(plan: ImportPlan, out: Path, progress: Progress = lambda jobs: jobs) -> Imported:
    """Write a data folder in the documented layout, and `import.json`, which says what was done: all or nothing.

    Slices of one single value are left out. Raises DataError.
    """
    refuse_taken(out, plan.source)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = new_folder(out.parent, ".upload-")
    problems: list[Problem] = []
    records: list[dict[str, Any]] = []
    try:
        staging.chmod(0o755)  # it was made for its user alone
        with name_full_disk(out, staging / "probe"):
            scans = [list(group) for _, group in groupby(plan.items, key=lambda item: (item.scan, item.label))]
            for items in progress(scans):
                try:
                    records += _write_scan(plan, items, staging, problems)
                except FileError as error:
                    if plan.atlas in items:
                        raise
                    problems.append(_left_out(error))
            if not any(record["role"] == "train" for record in records):
                raise DataError(f"{shown_path(plan.source)}: no picture to train on could be written. {_why(problems)}")
            if plan.label_names:
                shutil.copyfile(plan.label_names, staging / plan.label_names.name.lower())
            write_text(staging / RECORD, _record(plan, records, problems))
            if out.exists():
                out.rmdir()
            staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Imported(folder=out, pictures=len(records), problems=(*plan.problems, *problems))


def _write_scan(plan: ImportPlan, items: Sequence[Item], root: Path, problems: list[Problem]) -> list[dict[str, Any]]:
    """Write the pictures of one image or volume and their labels, and return their records."""
    image, label = items[0].scan, items[0].label
    pictures = _read(image, items, as_label=False) if _is_made(image, items[0], plan) else None
    labels: list[Picture] | None = None
    if label is not None and _is_made(label, items[0], plan, as_label=True):
        try:
            labels = _read(label, items, as_label=True)
        except FileError as error:
            problems.append(_left_out(error))
            label = None
    records = []
    for number, item in enumerate(items):
        if pictures is not None and np.ptp(pictures[number].array) == 0:
            what = f"its slice {item.index} holds one single value"
            blank = FileError(image.path, what, "It is left out.")
            if item == plan.atlas:
                raise blank
            problems.append(_left_out(blank))
            continue
        role = plan.role(item)
        folder, name = _FOLDERS[role], "atlas" if role == "atlas" else item.name
        record = {"name": item.name, "role": role, "subject": item.subject, "axis": item.axis, "slice": item.index}
        record |= _place(plan, image, None if pictures is None else pictures[number], root / folder / name, key="image")
        if label is not None:
            path = root / f"{folder}{LABEL_SUFFIX}" / f"{name}{LABEL_SUFFIX}"
            record |= _place(plan, label, None if labels is None else labels[number], path, key="label")
        if item.points is not None:
            target = root / f"{folder}{POINTS_SUFFIX}" / f"{name}{POINTS_SUFFIX}"
            record |= _take(plan, item.points, target, item.points.name[len(points_stem(item.points)) :], key="points")
        records.append(record)
    return records


def _is_made(scan: Scan, item: Item, plan: ImportPlan, *, as_label: bool = False) -> bool:
    """Whether a picture is written anew, since it is no file of its own that can be taken as it is."""
    return item.index is not None or scan.is_series or (scan.key or _MADE_KEYS[as_label]) != _MADE_KEYS[as_label]


def _read(scan: Scan, items: Sequence[Item], *, as_label: bool) -> list[Picture]:
    indices = [item.index for item in items]
    return read_slices(scan.path, scan.paths, scan.key or "", items[0].axis, indices, label=as_label)


def _place(plan: ImportPlan, scan: Scan, picture: Picture | None, target: Path, *, key: str) -> dict[str, Any]:
    """Write, copy or link one file, and return what was done."""
    if picture is None:
        return _take(plan, scan.path, target, scan.ending, key=key)
    path = target.with_name(target.name + output_extension(scan.path))
    path.parent.mkdir(parents=True, exist_ok=True)
    (write_label if key == "label" else write_image)(path, picture.array, like=picture)
    sources = [shown_path(own, plan.source) for own in scan.paths]
    return {key: path.relative_to(target.parents[1]).as_posix(), f"{key}_from": sources, f"{key}_was": "written"}


def _take(plan: ImportPlan, source: Path, target: Path, ending: str, *, key: str) -> dict[str, Any]:
    """Copy or link one file as it is, and return what was done."""
    path = target.with_name(target.name + ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    if plan.options.link:
        path.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, path)
    done = "linked" if plan.options.link else "copied"
    origin = [shown_path(source, plan.source)]
    return {key: path.relative_to(target.parents[1]).as_posix(), f"{key}_from": origin, f"{key}_was": done}


def _record(plan: ImportPlan, records: Sequence[dict[str, Any]], problems: Sequence[Problem]) -> str:
    content = {
        "format": 1,
        "source": shown_path(plan.archive or plan.source),
        "options": asdict(plan.options),
        "atlas": plan.atlas.name,
        "pictures": list(records),
        "left_out": [
            {"file": shown_path(problem.path, plan.source), "reason": f"{problem.what}. {problem.remedy}"}
            for problem in (*plan.problems, *problems)
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _left_out(error: FileError) -> Problem:
    return Problem(severity="warning", path=error.path, what=error.what, remedy=error.remedy, left_out=True)


def _why(problems: Sequence[Problem]) -> str:
    return str(problems[0]) if problems else "Name a folder that holds more."
