"""Import a folder, a file or a zip as it comes: propose an atlas, split by subject, write the documented layout."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from regstudio.data.folders.archives import unpack_all
from regstudio.data.importing.execute import Imported, refuse_taken, write_plan
from regstudio.data.importing.options import ImportOptions
from regstudio.data.importing.plan import ImportPlan, plan_import
from regstudio.data.importing.scans import find_scans
from regstudio.data.pictures.decoder import read_apart
from regstudio.errors import ConfigError
from regstudio.registering.atlas_choice import propose_atlas
from regstudio.temporary import new_folder

Progress = Callable[[Sequence[Any]], Iterable[Any]]
Permitted = Callable[[Path], bool]


@contextmanager
def planned(
    source: Path,
    options: ImportOptions,
    workplace: Path,
    *,
    permitted: Permitted = lambda path: True,
    progress: Progress = lambda jobs: jobs,
) -> Iterator[ImportPlan]:
    """Yield the plan of an import; what a zip holds lies in a folder within `workplace` during the block.

    Raises DataError and ConfigError.
    """
    with _opened(source, options, workplace) as folder:
        found = find_scans(folder, permitted)
        plan = plan_import(found, folder, options, propose_atlas, progress)
        yield plan if folder == source else replace(plan, archive=source)


def import_data(source: Path | str, out: Path | str, **options: Any) -> Imported:
    """Make a data folder in the documented layout of a folder, a file or a zip; the keywords are ImportOptions.

    Nothing is changed in the source. What was done is in import.json. Raises DataError and ConfigError.

        import_data("scans", "my_data", slices="every:5", axis="axial")
    """
    out = Path(out)
    refuse_taken(out, Path(source))
    with planned(Path(source), ImportOptions(**options), out.parent) as plan:
        return write_plan(plan, out)


@contextmanager
def _opened(source: Path, options: ImportOptions, workplace: Path) -> Iterator[Path]:
    if not (source.is_file() and source.suffix.lower() == ".zip"):
        yield source
        return
    if options.link:
        raise ConfigError("link: what a zip holds is no file that a link could lead to. Copy it.")
    workplace.mkdir(parents=True, exist_ok=True)
    folder = new_folder(workplace, ".upload-")
    try:
        read_apart(folder)
        unpack_all(source, folder)
        yield _inmost(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inmost(folder: Path) -> Path:
    """Return the folder that a zip of a folder holds, and nothing beside it: its name says nothing of a patient."""
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder
