"""The evaluation report of a run: its best checkpoint on its validation images, written into the run's folder."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from regstudio.errors import DataError, RunError
from regstudio.methods import TITLES, installed
from regstudio.runs.run import Run
from regstudio.studio.studio import Studio

PAGE = "report.html"
FILES = (PAGE, "cases.csv", "labels.csv", "summary.csv")
MAX_PAGE_BYTES = 2**25

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def folder_of(run: Run) -> Path:
    """Return the folder of a run's report."""
    return run.path / "report"


def checkpoint_of(studio: Studio, run: Run) -> Path:
    """Return the checkpoint to evaluate: the best, else the last; raises RunError if there is none."""
    if studio.read_only:
        raise RunError("This page only shows runs.")
    path = next((path for path in (run.best_path, run.last_path) if run.holds(path)), None)
    if path is None:
        raise RunError(f"{run.path.name}: has no checkpoint yet. The first one comes at the end of the first epoch.")
    return path


def comparable() -> list[tuple[str, str]]:
    """Return the methods that a report can compare with: what they are called, and their names."""
    return [(title, name) for name, title in TITLES.items() if installed(name)]


def write(
    studio: Studio,
    run: Run,
    progress: Progress = lambda results, total: results,
    compared: Sequence[str] = (),
) -> Path:
    """Evaluate the run's best checkpoint, write the report into the run's folder and return the report's folder.

    `progress` wraps the iterable of results; it also gets their number, as tqdm does. `compared` names methods that are
    measured on the same images.
    """
    checkpoint, config = checkpoint_of(studio, run), run.config()
    if folder_of(run).is_symlink():
        raise RunError(f"{folder_of(run)}: links out of the run's folder, and nothing is written there. Remove it.")
    studio.allowed(str(config.layout.data_base_dir))
    index = studio.index(config)
    reference, total = index.reference, len(index.evaluated)
    if index.errors or reference is None or not total:
        reasons = [str(problem) for problem in index.errors] or [f"{index.root}: there are no validation images."]
        raise DataError("\n".join([f"{run.path.name} cannot be evaluated:", *reasons]))
    from regstudio.evaluation.report.compose import checkpoint_method, compose, measure, method_by_name
    from regstudio.training.setup import pair_reader

    device = config.optimisation.device
    method = checkpoint_method(checkpoint, device)
    methods = [method, *(method_by_name(name, device) for name in dict.fromkeys(compared))]
    read = pair_reader(config.reading, reference, with_points=True)
    evaluations = [measure(each, index, read, lambda results: progress(results, total)) for each in methods]
    compose(folder_of(run), method, evaluations, index, read, checkpoint=checkpoint)
    return folder_of(run)


def page_of(run: Run) -> str:
    """Return the run's report as HTML that needs no other file; raises RunError where there is none to be shown."""
    path = folder_of(run) / PAGE
    if not run.holds(path):
        raise RunError(f"{run.path.name}: has no report yet. Press Report to write one.")
    if path.stat().st_size > MAX_PAGE_BYTES:
        raise RunError(f"{path}: is too large to be shown here. Download it, and open the file.")
    return path.read_text(encoding="utf-8", errors="replace")


def copied(run: Run, folder: Path) -> list[str]:
    """Copy the run's report into `folder`, where the page may serve it; return the files, none without a report."""
    files = [path for name in FILES if run.holds(path := folder_of(run) / name)]
    target = folder / run.path.name
    target.mkdir(parents=True, exist_ok=True)
    return [str(shutil.copy(path, target)) for path in files]
