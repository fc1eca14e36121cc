"""Imports from the page: what an import would do, shown with its atlas, and the import itself."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regstudio.data.importing.declared import KINDS
from regstudio.data.importing.execute import Imported, refuse_taken, write_plan
from regstudio.data.importing.options import ROLES, ImportOptions
from regstudio.data.importing.plan import ImportPlan, Item
from regstudio.data.importing.slices import read_slices
from regstudio.data.pictures.formats import label_on_image
from regstudio.data.problems import FileError, shown_path
from regstudio.drawing.thumbnails import Picture, aspect_of, thumbnail
from regstudio.errors import ConfigError
from regstudio.studio.studio import UPLOADS, Studio
from regstudio.studio.uploads import target_folder

MAX_ROWS = 500  # of the table
ATLAS_SIZE, THUMBNAIL = 320, 160  # pixels
MAX_SHOWN = 24  # pictures of a proposal
CHANGES = {
    "the atlas": "atlas",
    "one to train on": "train",
    "one to validate on": "validation",
    "left out": "out",
    "a label, as all named alike": "label",
    "two pictures, its label being one": "image",
}
SLICES = ("middle", "every:2", "every:5", "every:10", "all", "largest-label")
AXIS = ("auto", "axial", "coronal", "sagittal", "0", "1", "2")
HEADERS = ("role", "name", "subject", "from", "label")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What an import would do: in a sentence, as a table, its atlas and all pictures that could be it.

    `pictures` are some of the table, each with its name below, then its role; `shown` are their names. `files` are
    those of each name in the table: the picture's, that of its label or "", and "label" for one of no picture.
    """

    summary: str
    rows: list[list[str]]
    names: tuple[str, ...]
    atlas: str
    picture: Picture
    pictures: list[tuple[Picture, str]]
    shown: list[str]
    files: dict[str, tuple[str, str, str]]


def propose(studio: Studio, source: str, archive: str | None, options: ImportOptions) -> Proposal:
    """Return what an import of a folder, or of an uploaded zip, would do; raises DataError and ConfigError."""
    with _planned(studio, source, archive, options) as plan:
        left_out = [problem for problem in plan.problems if problem.left_out]
        summary = f"{plan.summary()}."
        if left_out:
            named = "; ".join(f"{shown_path(each.path, plan.source)}: {each.what}" for each in left_out[:5])
            more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
            summary += f" Left out: {named}{more}."
        rows = _shortened(plan.ordered(), MAX_ROWS)
        shown = _shortened(rows, MAX_SHOWN)
        if len(shown) < len(plan.ordered()):
            summary += f" {len(shown)} pictures are shown, the others are in the table."
        listed = {item.name for item in rows}
        return Proposal(
            summary=summary,
            rows=[row for row in plan.rows() if row[1] in listed],
            names=tuple(item.name for item in plan.items),
            atlas=plan.atlas.name,
            picture=_picture(plan.atlas, ATLAS_SIZE),
            pictures=[(_picture(item, THUMBNAIL), _caption(plan, item)) for item in shown],
            shown=[item.name for item in shown],
            files={
                item.name: (plan.shown(item.scan), plan.shown(item.label), "label" if _is_stray(item) else "")
                for item in rows
            },
        )


def _shortened(items: list[Item], most: int) -> list[Item]:
    """Return the items, where they are too many some from all along them: the first, and what was set aside, too."""
    if len(items) <= most:
        return items
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def perform(studio: Studio, source: str, archive: str | None, name: str, options: ImportOptions) -> Imported:
    """Import into the new folder of a name, as uploads are; raises DataError and ConfigError."""
    out = target_folder(name, studio.roots[0], studio.allowed)
    refuse_taken(out)
    with _planned(studio, source, archive, options) as plan:
        return write_plan(plan, out)


@contextmanager
def _planned(studio: Studio, source: str, archive: str | None, options: ImportOptions) -> Iterator[ImportPlan]:
    from regstudio.registering.importing import planned  # which loads torch

    if not archive and not source.strip():
        raise ConfigError("Name the folder of your files, or drop a zip of it.")
    path = Path(archive) if archive else studio.allowed(source)
    with planned(path, options, studio.roots[0] / UPLOADS, permitted=_permitted(studio, archive)) as plan:
        yield plan


def _permitted(studio: Studio, archive: str | None) -> Callable[[Path], bool]:
    return (lambda path: True) if archive else lambda path: not path.is_symlink() or studio.is_inside(path)


def changed(
    changes: Sequence[Sequence[str]], files: Mapping[str, Sequence[str]], name: str, role: str
) -> list[tuple[str, str]]:
    """Return the chosen roles with one more, of a picture in the proposal; `files` are the proposal's.

    Raises ConfigError where there is no such role or picture.
    """
    if role not in ROLES:
        raise ConfigError(f"{role}: there is no such role. Choose one of {', '.join(CHANGES)}.")
    if name not in files:
        raise ConfigError("The page shows an older proposal. Press “Show what will be done”.")
    image, label, stray = files[name]
    if role == "image" and not label:
        raise ConfigError(f"{name} has no label that could be a picture of its own.")
    made = [(image, "image")] if stray and role not in KINDS else []  # a label of no picture becomes one
    return _with(changes, [*made, ({"label": image, "image": label}.get(role, name), role)])


def as_atlas(changes: Sequence[Sequence[str]], files: Mapping[str, Sequence[str]], name: str) -> list[tuple[str, str]]:
    """Return the roles that let a picture in the proposal be the atlas; raises ConfigError where there is none."""
    changed(changes, files, name, "train")  # which says what is wrong
    image, _, stray = files[name]
    kept = [(str(other), str(role)) for other, role in changes if (other, role) != (name, "out")]
    return _with(kept, [(image, "image")] if stray else [])


def _with(changes: Sequence[Sequence[str]], more: list[tuple[str, str]]) -> list[tuple[str, str]]:
    named = {subject for subject, _ in more}
    return [*((str(other), str(role)) for other, role in changes if other not in named), *more]


def _caption(plan: ImportPlan, item: Item) -> str:
    what = "a label of no picture" if _is_stray(item) else plan.role(item)
    return f"{item.name}: {what}{', labelled' if item.label else ''}"


def _is_stray(item: Item) -> bool:
    return not item.subject


def _picture(item: Item, size: int) -> Picture:
    """Return a picture with its label outlined; grey where it cannot be read, which the import says."""
    from regstudio.data.loading.loaders import normalised

    def read(paths: Sequence[Path], key: str | None, *, label: bool) -> Any:
        return read_slices(paths[0], tuple(paths), key or "", item.axis, [item.index], label=label)[0]

    try:
        image = read(item.scan.paths, item.scan.key, label=False)
    except FileError:
        return thumbnail(np.full((size, size), 0.15), size=size)
    ids = None
    if item.label is not None:
        try:
            label = read(item.label.paths, item.label.key, label=True)
            ids = label_on_image(label, image.geometry, None).array
        except FileError:  # which the import says
            ids = None
        if ids is not None and ids.shape != image.size:
            ids = None
    return thumbnail(normalised(image.grey, "minmax"), ids, size=size, aspect=aspect_of(image.spacing))
