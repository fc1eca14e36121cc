"""Imports from the page: what an import would do, shown with its atlas, and the import itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.data.importing.execute import Imported, refuse_taken, write_plan
from regstudio.data.importing.options import ImportOptions
from regstudio.data.importing.plan import ImportPlan
from regstudio.data.importing.slices import read_slices
from regstudio.data.pictures.formats import label_on_image
from regstudio.data.problems import FileError, shown_path
from regstudio.drawing.thumbnails import Picture, aspect_of, thumbnail
from regstudio.errors import ConfigError
from regstudio.studio.studio import UPLOADS, Studio
from regstudio.studio.uploads import target_folder

MAX_ROWS = 500  # of the table
ATLAS_SIZE = 320  # pixels
SLICES = ("middle", "every:2", "every:5", "every:10", "all", "largest-label")
AXIS = ("auto", "axial", "coronal", "sagittal", "0", "1", "2")
HEADERS = ("role", "name", "subject", "from", "label")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What an import would do: in a sentence, as a table, its atlas and all pictures that could be it."""

    summary: str
    rows: list[list[str]]
    names: tuple[str, ...]
    atlas: str
    picture: Picture


def propose(studio: Studio, source: str, archive: str | None, options: ImportOptions) -> Proposal:
    """Return what an import of a folder, or of an uploaded zip, would do; raises DataError and ConfigError."""
    with _planned(studio, source, archive, options) as plan:
        left_out = [problem for problem in plan.problems if problem.left_out]
        summary = f"{plan.summary()}."
        if left_out:
            named = "; ".join(f"{shown_path(each.path, plan.source)}: {each.what}" for each in left_out[:5])
            more = f"; and {len(left_out) - 5} more" if len(left_out) > 5 else ""
            summary += f" Left out: {named}{more}."
        return Proposal(
            summary=summary,
            rows=plan.rows()[:MAX_ROWS],
            names=tuple(item.name for item in plan.items),
            atlas=plan.atlas.name,
            picture=_picture(plan),
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


def _picture(plan: ImportPlan) -> Picture:
    """Return the atlas with its label outlined."""
    from regstudio.data.loading.loaders import normalised

    item = plan.atlas

    def read(paths: Sequence[Path], key: str | None, *, label: bool) -> Any:
        return read_slices(paths[0], tuple(paths), key or "", item.axis, [item.index], label=label)[0]

    image = read(item.scan.paths, item.scan.key, label=False)
    ids = None
    if item.label is not None:
        try:
            label = read(item.label.paths, item.label.key, label=True)
            ids = label_on_image(label, image.geometry, None).array
        except FileError:  # which the import says
            ids = None
        if ids is not None and ids.shape != image.size:
            ids = None
    return thumbnail(normalised(image.grey, "minmax"), ids, size=ATLAS_SIZE, aspect=aspect_of(image.spacing))
