"""Applies a method to many new images: from the fields of the Apply tab to a job in the background."""

from typing import TYPE_CHECKING, Any

from regstudio.errors import RunError
from regstudio.methods import NAMES, TITLES, installed
from regstudio.studio.applied import AppliedFolder, ApplyRecord, ApplyRow, open_applied, rows_of_journal, table
from regstudio.studio.apply_inputs import ApplyForm, fixed_image, moving_images, refine_steps, results_folder
from regstudio.studio.page_words import NO_TRAINING, on_the_page
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace

if TYPE_CHECKING:  # which imports torch
    from regstudio.methods.network import Refine
    from regstudio.registering.chosen_method import ChosenMethod
    from regstudio.studio.view import Registrar
    from regstudio.studio.viewer import Viewer

ACTIVE = ("running", "paused", "stopping")


def methods(studio: Studio) -> list[tuple[str, str]]:
    """Return what can be applied, as (label, name): each run's best and last checkpoint, and what needs no training."""
    found = [
        (f"{run.path.name}, {name}", f"{run.path.name}/{name}")
        for run in studio.run_folders()
        for name, path in (("best", run.best_path), ("last", run.last_path))
        if run.holds(path)
    ]
    return [*found, *((TITLES[name], f"{NO_TRAINING}/{name}") for name in NAMES if installed(name))]


def start(studio: Studio, viewer: "Viewer", form: ApplyForm, workspace: Workspace | None = None) -> AppliedFolder:
    """Start to register the images in the background, or go on with them; return the folder of the results.

    Raises a RegStudioError with the reason if it cannot.
    """
    from regstudio.config import build_config
    from regstudio.registering.job import RegisterTask
    from regstudio.training.setup import pair_reader

    if studio.read_only:
        raise RunError("This page only shows runs.")
    if state(studio) in ACTIVE:
        raise RunError("A folder is being registered. Stop that first, or wait until it is done.")
    registrar = viewer.other(form.method)
    fixed = fixed_image(studio, viewer, form, registrar, workspace or studio.workspace())
    moving, labels, masks = moving_images(studio, form)
    refine = refine_steps(form.refine) if registrar.path else 0
    chosen = _chosen(registrar, refine)
    record = ApplyRecord(
        method=form.method,
        refine=refine,
        moving=str(moving),
        labels=None if labels is None else str(labels),
        fixed=str(fixed.image),
        fixed_label=None if fixed.label is None else str(fixed.label),
        masks=None if masks is None else str(masks),
        fixed_mask=None if fixed.mask is None else str(fixed.mask),
        threshold=None if fixed.label is None else chosen.threshold,
    )
    folder = results_folder(studio, form.name, record)
    cases = folder.cases(studio)
    reading = build_config(chosen.reading).reading
    reader = pair_reader(reading, fixed, with_points=True)
    recipe = chosen.recipe + "\nmask_outside" * reader.mask_outside
    task = RegisterTask(
        method=chosen.method,
        reader=reader,
        cases=cases,
        out=folder.path,
        recipe=f"{recipe}\n{reading.normalise=}",  # as the command line has it: it goes on with these results
    )
    folder.write()
    studio.register_job.start(task)
    return folder


def state(studio: Studio) -> str:
    """Return the job's state by name; does not wait for torch."""
    job = studio.known_register_job
    return job.state.value if job else "idle"


def possible_now(studio: Studio) -> dict[str, bool]:
    """Return whether each button is possible now."""
    now = state(studio)
    return {
        "start": now not in ACTIVE,
        "pause": now == "running",
        "resume": now == "paused",
        "stop": now in ("running", "paused"),
    }


def progress(studio: Studio) -> dict[str, Any]:
    """Return the job's state, counts, failures, time left and message, JSON-ready."""
    job = studio.known_register_job
    task = job.task if job else None
    if job is None or task is None:
        return {"state": "idle"}
    results = job.results
    return {
        "state": job.state.value,
        "name": task.out.name,
        "folder": str(task.out),
        "method": task.method.name,
        "done": len(results),
        "total": len(task.cases),
        "failed": sum(result.error is not None for result in results),
        "before": sum(result.reused for result in results),
        "left": job.seconds_left,
        "message": on_the_page(job.message),
    }


def rows(studio: Studio, name: str) -> list[list[str | float | None]]:
    """Return the table of a folder of results, worst first: of the job's own, else what its journal says."""
    job = studio.known_register_job
    folder = open_applied(studio, name)
    if job is None or job.task is None or job.task.out != folder.path:
        return table(rows_of_journal(folder), folder.record.threshold)
    found = (
        ApplyRow(id=result.case.id, metrics=result.metrics, seconds=result.seconds, error=result.error)
        for result in job.results
    )
    return table(list(found), folder.record.threshold)


def _chosen(registrar: "Registrar", refine: "Refine") -> "ChosenMethod":
    from regstudio.registering.chosen_method import chosen_checkpoint, chosen_name

    if registrar.path is None:
        return chosen_name(registrar.name)
    return chosen_checkpoint(registrar.path, refine=refine)
