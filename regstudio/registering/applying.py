"""Apply the flows of a folder, as `register` writes one, to folders of images, labels and landmarks."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regstudio.config import ReadingSection
from regstudio.data.folders.listing import (
    POINTS_ENDINGS,
    FolderListing,
    natural_key,
    short_list,
    split_images_and_labels,
)
from regstudio.data.folders.partners import partner_name
from regstudio.data.landmarks.files import points_stem
from regstudio.data.pictures.formats import read_image, read_label, stem
from regstudio.data.pictures.writing import output_extension
from regstudio.data.problems import FileError
from regstudio.errors import DataError
from regstudio.registering.journal import Journal, digest_of, refuse_folder_of_inputs
from regstudio.threads import map_in_order
from regstudio.transforms.apply import SavedFlow, apply_flow, load_flow, move_landmarks
from regstudio.transforms.itk_field import FIELD_EXTENSION
from regstudio.transforms.result_files import OutputSize

Kind = Literal["image", "label", "points"]

FLOW, FIELD, INVERSE = "_flow.npy", f"_displacement{FIELD_EXTENSION}", "_inverse"
JOURNAL = "applied.jsonl"
MAX_WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Applying:
    """A file, and the flow to apply to it; None where the folder has none of its name."""

    kind: Kind
    source: Path
    flow: Path | None


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What became of a file: the result, or the error; `reused` is true if an earlier call wrote it.

    `unsolved` are the lines of landmarks that the flow could not be inverted at.
    """

    task: Applying
    written: Path | None = None
    error: str | None = None
    reused: bool = False
    unsolved: tuple[int, ...] = ()


def find_applications(flows: Path, sources: Mapping[Kind, Path | None]) -> list[Applying]:
    """Return what to apply: `flows` and `sources` are files or folders; a single flow is for every file.

    Of a folder of flows, a file takes the one of its own name, or of the longest name that it begins with: `p01_t2.png`
    and `p01_seg.png` take `p01_flow.npy`. Raises DataError where a folder holds no flow, or nothing to apply it to.
    """
    by_name = _flows_in(flows) if flows.is_dir() else None
    found = []
    for kind, source in sources.items():
        if source is not None:
            files = _files_in(kind, source) if source.is_dir() else [source]
            found += [
                Applying(kind=kind, source=file, flow=flows if by_name is None else _flow_for(by_name, file))
                for file in files
            ]
    results: dict[tuple[str, str], Applying] = {}
    for task in found:
        name = points_stem(task.source) if task.kind == "points" else stem(task.source)
        other = results.setdefault(
            (name, task.source.suffix if task.kind == "points" else output_extension(task.source)), task
        )
        if other is not task:
            what = f"has the same name as {other.source}, and one result would take the other's place"
            raise FileError(task.source, what, "Apply them one after the other, with another --out.")
    return found


def apply_files(
    tasks: list[Applying],
    out: Path,
    reading: ReadingSection,
    *,
    inverse: bool = False,
    overwrite: bool = False,
    output_size: OutputSize = "fixed",
) -> Iterator[Applied]:
    """Apply each flow to its file, and yield what became of it, in order; errors are results, too.

    What an earlier call completed with the same files and settings is not done again, unless with `overwrite`.
    """
    refuse_folder_of_inputs(out, [task.source for task in tasks])
    out.mkdir(parents=True, exist_ok=True)
    journal = Journal(out, fresh=overwrite, name=JOURNAL)

    def done(task: Applying) -> Applied:
        try:
            return _apply(task, out, reading, inverse, output_size, journal)
        except DataError as error:
            return Applied(task=task, error=str(error))

    with closing(map_in_order(done, tasks, workers=min(MAX_WORKERS, os.cpu_count() or 1))) as results:
        yield from results


def _apply(
    task: Applying, out: Path, reading: ReadingSection, inverse: bool, output_size: OutputSize, journal: Journal
) -> Applied:
    if task.flow is None:
        raise FileError(task.source, "has no flow of its name in that folder", "Register it first, or leave it out.")
    if not task.source.exists() or not task.flow.exists():
        raise FileError(
            task.source if not task.source.exists() else task.flow, "there is no such file", "Check the name."
        )
    where = reading.model_dump(include={"image_key", "label_key", "slice_axis", "slice_index"})
    sidecar = task.flow.with_suffix(".json")
    name = f"{task.kind} {task.source.name}"
    files = [task.source, task.flow, sidecar if sidecar.is_file() else None]
    digest = digest_of(f"{task.kind} {inverse} {output_size} {where}", files)
    entry = journal.find(name, digest)
    if entry is not None:
        return Applied(task=task, written=out / next(iter(entry.files)), reused=True)
    written, unsolved = apply_one(
        task.kind, task.source, task.flow, out, reading, inverse=inverse, output_size=output_size
    )
    journal.add(name, digest, [written], {}, 0.0)
    return Applied(task=task, written=written, unsolved=unsolved)


def apply_one(
    kind: Kind,
    source: Path,
    flow: Path,
    out: Path,
    reading: ReadingSection,
    *,
    inverse: bool = False,
    output_size: OutputSize = "fixed",
    known: SavedFlow | None = None,
) -> tuple[Path, tuple[int, ...]]:
    """Apply a flow to one file; return the result, and the lines of landmarks that it could not be inverted at.

    `known` is the flow, where it was loaded before: one in pixels, or for landmarks a field with its image.
    """
    # A flow in pixels says how the pictures that it is for are read; a field in mm needs one to become pixels.
    saved = known or (load_flow(flow) if kind == "points" or flow.suffix.lower() == ".npy" else None)
    if kind == "points":
        assert saved is not None
        return move_landmarks(saved, source, out, inverse=inverse)
    axes = "itk" if saved is None else saved.axes
    where: dict[str, Any] = {"slice_axis": reading.slice_axis, "slice_index": reading.slice_index, "axes": axes}
    if kind == "label":
        picture, key = read_label(source, key=reading.label_key, **where), reading.label_key
    else:
        picture, key = read_image(source, key=reading.image_key, colour=True, **where), reading.image_key
    saved = saved or load_flow(flow, picture)
    return apply_flow(saved, picture, out, label=kind == "label", key=key, output_size=output_size), ()


def _flows_in(folder: Path) -> dict[str, Path]:
    """Return the flows of a folder by the names of their images: in pixels, where there is one, else in mm."""
    found: dict[str, Path] = {}
    for ending in (FIELD, FLOW):
        for path in folder.glob(f"*{ending}"):
            name = path.name.removesuffix(ending)
            if not name.endswith(INVERSE):
                found[name] = path
    if not found:
        raise FileError(folder, f"holds no flow (NAME{FLOW})", "Name a folder that `regstudio register` wrote.")
    return found


def _flow_for(flows: Mapping[str, Path], file: Path) -> Path | None:
    name = partner_name(stem(file), flows, "prefix")
    return None if name is None else flows[name]


def _files_in(kind: Kind, folder: Path) -> list[Path]:
    if kind == "points":
        files = sorted(
            (path for path in folder.iterdir() if path.name.lower().endswith(POINTS_ENDINGS) and path.is_file()),
            key=lambda path: natural_key(path.name),
        )
    else:
        listing = FolderListing()
        images, labels = split_images_and_labels(listing.pictures(folder) or [])
        files = images + labels if kind == "label" and not labels else images if kind == "image" else labels
        unread = [problem.path for problem in listing.problems if problem.severity == "error"]
        if unread:
            raise FileError(unread[0], "may not be read", "Change its permissions.")
    if not files:
        others = short_list(list(folder.iterdir()))
        what = f"holds no {'table of points' if kind == 'points' else kind}; it holds {others or 'nothing'}"
        raise FileError(folder, what, "Name the folder that holds them.")
    return files
