"""Imports from the page: what an import would do, shown with its atlas, and the import itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regstudio.data.importing.execute import Imported, refuse_taken, write_plan
from regstudio.data.importing.options import ImportOptions
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
CHANGES = {"the atlas": "atlas", "one to train on": "train", "one to validate on": "validation", "left out": "out"}
SLICES = ("middle", "every:2", "every:5", "every:10", "all", "largest-label")
AXIS = ("auto", "axial", "coronal", "sagittal", "0", "1", "2")
HEADERS = ("role", "name", "subject", "from", "label")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What an import would do: in a sentence, as a table, its atlas and all pictures that could be it.

    `pictures` are the first of the table, each with its role, label and name below; `shown` are their names.
    """

    summary: str
    rows: list[list[str]]
    names: tuple[str, ...]
    atlas: str
    picture: Picture
    pictures: list[tuple[Picture, str]]
    shown: list[str]


def propose(studio: Studio, source: str, archive: str | None, options: ImportOptions) -> Proposal:
    """Return what an import of a folder, or of an uploaded zip, would do; raises DataError and ConfigError."""
    with _planned(studio, source, archive, options) as plan:
        left_out = [problem for problem in plan.problems if problem.left_out]
        summary = f"{plan.summary()}."
        if left_out:
            named = "; ".join(f"{shown_path(each.path, plan.source)}: {each.what}" for each in left_out[:5])
            more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
            summary += f" Left out: {named}{more}."
        shown = plan.ordered()[:MAX_SHOWN]
        return Proposal(
            summary=summary,
            rows=plan.rows()[:MAX_ROWS],
            names=tuple(item.name for item in plan.items),
            atlas=plan.atlas.name,
            picture=_picture(plan.atlas, ATLAS_SIZE),
            pictures=[(_picture(item, THUMBNAIL), _caption(plan, item)) for item in shown],
            shown=[item.name for item in shown],
        )


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


def changed(changes: Sequence[Sequence[str]], name: str, role: str) -> list[tuple[str, str]]:
    """Return the chosen roles with one more; raises ConfigError where there is no such role."""
    if role not in CHANGES.values():
        raise ConfigError(f"{role}: there is no such role. Choose one of {', '.join(CHANGES)}.")
    return [*((str(other), str(its)) for other, its in changes if other != name), (name, role)]


def _caption(plan: ImportPlan, item: Item) -> str:
    return f"{plan.role(item)}{', labelled' if item.label else ''}: {item.name}"


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
