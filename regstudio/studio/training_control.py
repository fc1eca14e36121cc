"""What the Train tab does with the one training: start it, go on with a run, and know what is possible now."""

from collections.abc import Mapping
from typing import Any

from regstudio.data.check_report import CheckReport
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.runs.events import EpochDone
from regstudio.runs.run import Run, resumed_config
from regstudio.studio.settings_files import PRESETS
from regstudio.studio.studio import Studio

MAX_SHOWN = 3  # problems in a refusal; the Data tab lists them all
RESUMABLE = ("stopped", "interrupted", "failed")
ACTIONS = ("start", "pause", "resume", "stop", "save", "go_on")


def state(studio: Studio) -> str:
    """Return what the job is doing, by its name; does not wait for torch."""
    job = studio.known_job
    return job.state.value if job else "idle"


def possible(now: str) -> dict[str, bool]:
    """Return which actions a job in the state `now` allows."""
    active = now in ("running", "paused", "stopping")
    return {
        "start": not active,
        "pause": now == "running",
        "resume": now == "paused",
        "stop": now in ("running", "paused"),
        "save": now == "running",
        "go_on": not active,
    }


def situation(studio: Studio) -> str:
    """Return a text that changes whenever the tab has something else to show; cheap enough for every tick."""
    job = studio.known_job
    runs = studio.runs_dir
    names = sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
    run = job.run.path.name if job and job.run else ""
    return "\n".join([state(studio), run, str(studio.config.layout), *names])


def resumable(studio: Studio) -> list[tuple[str, str]]:
    """Return the runs that can be gone on with, the newest first, as (what to show, name)."""
    return [
        (f"{run.name} ({run.state} after {run.epochs_done} of {run.epochs} epochs)", run.name)
        for run in studio.runs()
        if run.state in RESUMABLE and studio.run(run.name).last_path.is_file()
    ]


def start(studio: Studio, values: Mapping[str, Any]) -> Run:
    """Start a new run with these settings, flat by name; raises a RegStudioError with the reason where it cannot."""
    _refuse_second(studio)
    if values.get("load_model"):
        path = studio.allowed(str(values["load_model"]))
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such checkpoint. Correct or empty “load model”.")
        values = {**values, "load_model": path}
    from regstudio.networks.device import find_device

    config = studio.change_settings(values)
    find_device(config.optimisation.device)
    report = studio.report()
    _refuse_bad(report)
    return studio.job.start(config, report.index)


def resume(studio: Studio, name: object, epochs: int | None = None) -> Run:
    """Resume a run with its own settings, up to epoch `epochs` if given; raises a RegStudioError where it cannot."""
    if studio.read_only:
        raise RunError("This page only shows runs.")
    _refuse_second(studio)
    if not isinstance(name, str) or not name:
        raise RunError("Choose the run to resume.")
    run = studio.run(name)
    if run.is_training():
        raise RunError(f"{name} is training now and cannot be resumed. Stop it first.")
    if not run.last_path.is_file():
        raise RunError(f"{run.path}: nothing was saved to go on from. Start a new run.")
    config = resumed_config(run, {} if epochs is None else {"epochs": epochs})
    done = max((event.epoch for event in run.milestones() if isinstance(event, EpochDone)), default=0)
    if done >= config.optimisation.epochs:
        raise RunError(f"{name}: {done} epochs are done already. Ask for more to train on.")
    studio.allowed(str(config.layout.data_base_dir))
    report = studio.check(config)
    _refuse_bad(report)
    return studio.job.start(config, report.index, run=run)


def start_demo(studio: Studio) -> Run:
    """Start a short training on the demo data, which are made if they are not there; return its run."""
    from regstudio.data.phantom import make_demo

    if not (studio.demo_dir / "fixed").is_dir():
        make_demo(studio.demo_dir)
    studio.forget_report()
    config = studio.change_settings({"data_base_dir": studio.demo_dir, **PRESETS["quick look"]})
    return studio.job.start(config, studio.report().index)


def _refuse_second(studio: Studio) -> None:
    job = studio.known_job
    if job and job.run and not possible(job.state.value)["start"]:
        raise RunError(f"{job.run.path.name} is being trained. Stop it before starting another.")


def _refuse_bad(report: CheckReport) -> None:
    errors = [str(problem) for problem in report.index.errors]
    if not report.can_train:
        more = [f"And {len(errors) - MAX_SHOWN} more."] if len(errors) > MAX_SHOWN else []
        raise DataError(
            "\n".join(
                ["The data cannot be trained on.", *errors[:MAX_SHOWN], *more, "The Data tab lists all problems."]
            )
        )
