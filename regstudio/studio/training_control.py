"""Starts and resumes the one training, and says which buttons of the Train tab are possible now."""

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Any

from regstudio.config import GENERAL, TrainConfig
from regstudio.data.checking.report import CheckReport
from regstudio.data.problems import shown_path
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.runs.events import EpochDone
from regstudio.runs.run import Run, resumed_config
from regstudio.studio.settings_files import QUICK_LOOK
from regstudio.studio.studio import Studio
from regstudio.studio.workspace import Workspace

MAX_SHOWN = 3  # problems in a refusal; the Data tab lists them all
RESUMABLE = ("stopped", "interrupted", "failed")
ACTIONS = ("start", "pause", "resume", "stop", "save", "go_on")


def state(studio: Studio) -> str:
    """Return the job's state by name; does not wait for torch."""
    job = studio.known_job
    return job.state.value if job else "idle"


def possible(now: str, saved: bool = False) -> dict[str, bool]:
    """Return whether each action is possible while the job is in the state `now`; `saved`: its run can be resumed."""
    active = now in ("running", "paused", "stopping")
    return {
        "start": not active,
        "pause": now == "running",
        "resume": now == "paused" or (now in RESUMABLE and saved),
        "stop": now in ("running", "paused"),
        "save": now == "running",
        "go_on": not active,
    }


def possible_now(studio: Studio) -> dict[str, bool]:
    """Return whether each action is possible now."""
    job = studio.known_job
    return possible(state(studio), bool(job and job.run and job.run.last_path.is_file()))


def situation(studio: Studio, workspace: Workspace) -> str:
    """Return a text that changes whenever the tab must be redrawn; cheap enough for every tick."""
    job = studio.known_job
    runs = studio.runs_dir
    names = sorted(shown_path(path.name) for path in runs.iterdir()) if runs.is_dir() else []
    run = job.run.path.name if job and job.run else ""
    return "\n".join([state(studio), run, str(workspace.config.layout), *names])


def headline(studio: Studio) -> str:
    """Return what is training now, in a few words."""
    job = studio.known_job
    elsewhere = None if job and not possible(job.state.value)["start"] else studio.running()
    if elsewhere:
        return f"{elsewhere.path.name} is being trained by another program"
    if job is None or job.run is None:
        return "Nothing is training."
    active = {"idle": "Starting", "running": "Training", "paused": "Paused:", "stopping": "Stopping"}
    name = job.run.path.name
    return f"{active[job.state]} {name}" if job.state in active else f"{name}: {job.state}"


def ended(studio: Studio) -> list[str]:
    """Return the name of the run that this process has trained last; none unless it ended with a network to look at."""
    job = studio.known_job
    run = job.run if job and job.state.value in ("finished", "stopped") else None
    return [run.path.name] if run and any(map(run.holds, (run.best_path, run.last_path))) else []


def device_choices() -> list[tuple[str, str]]:
    """Return the available devices, as (label, value of the setting `device`)."""
    import torch  # slow; the first page does not need it

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    choices = [(f"auto: {'GPU' if count else 'CPU'}", "auto"), ("CPU", "cpu")]  # how many threads: see the live panel
    for index in range(count):
        facts = torch.cuda.get_device_properties(index)
        choices.append((f"{facts.name} ({facts.total_memory / 2**30:.0f} GiB)", f"cuda:{index}"))
    return choices


def resumable(studio: Studio) -> list[tuple[str, str]]:
    """Return the runs that can be resumed, newest first, as (label, name)."""
    return [
        (f"{run.name} ({run.state} after {run.epochs_done} of {run.epochs} epochs)", run.name)
        for run in studio.runs()
        if run.state in RESUMABLE and Run(run.path).holds(Run(run.path).last_path)
    ]


def fresh_name(studio: Studio, name: str | None, taken: Collection[str] = ()) -> str | None:
    """Return the name, or if there is such a run, or it is `taken`, the next one that is free: mine, mine_2, mine_3."""

    def is_free(wanted: str) -> bool:
        return wanted not in taken and not (studio.runs_dir / wanted).exists()

    if not name or is_free(name):
        return name
    base = re.sub(r"_\d{1,3}$", "", name)
    names = (f"{base}_{number}" for number in itertools.count(2))
    return next(free for free in names if is_free(free))


def start(studio: Studio, values: Mapping[str, Any], workspace: Workspace | None = None) -> Run:
    """Start a new run with these settings, flat by name, and the data of the workspace, by default the first one.

    Raises a RegStudioError with the reason if it cannot.
    """
    _refuse_second(studio)
    config, report = checked(studio, values, workspace or studio.workspace())
    return studio.job.start(config, report.index)


def checked(studio: Studio, values: Mapping[str, Any], workspace: Workspace) -> tuple[TrainConfig, CheckReport]:
    """Return the settings of a training and the report on its data; raises a RegStudioError where it cannot be."""
    if values.get("load_model") and str(values["load_model"]) != GENERAL:
        path = studio.allowed(str(values["load_model"]))
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such checkpoint. Correct or empty “load model”.")
        values = {**values, "load_model": path}
    from regstudio.networks.device import find_device

    config = workspace.change_settings(values)
    find_device(config.optimisation.device)
    report = workspace.report()
    refuse_bad(report)
    return config, report


def go_on(studio: Studio) -> None:
    """End the pause, or resume the run that was stopped or failed."""
    job = studio.job
    if job.state.value in RESUMABLE and job.run is not None:
        resume(studio, job.run.path.name)
    else:
        job.resume()


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
    if not run.holds(run.last_path):
        raise RunError(f"{run.path}: nothing was saved to go on from. Start a new run.")
    config = resumed_config(run, {} if epochs is None else {"epochs": epochs})
    done = max((event.epoch for event in studio.milestones(run) if isinstance(event, EpochDone)), default=0)
    if done >= config.optimisation.epochs:
        raise RunError(f"{name}: {done} epochs are done already. Ask for more to train on.")
    studio.allowed(str(config.layout.data_base_dir))
    report = studio.check(config)
    refuse_bad(report)
    return studio.job.start(config, report.index, run=run)


def start_demo(studio: Studio) -> Run:
    """Start a short training on the demo data, which are made if missing; return its run."""
    studio.ensure_demo()
    workspace = studio.workspace()
    workspace.forget_report()
    config = workspace.change_settings({"data_base_dir": studio.demo_dir, **QUICK_LOOK.values})
    return studio.job.start(config, workspace.report().index)


def _refuse_second(studio: Studio) -> None:
    job = studio.known_job
    if job and job.run and not possible(job.state.value)["start"]:
        raise RunError(f"{job.run.path.name} is being trained. Stop it before starting another.")


def refuse_bad(report: CheckReport) -> None:
    """Raise DataError for data that cannot be trained on."""
    errors = [str(problem) for problem in report.index.errors]
    if not report.can_train:
        more = [f"And {len(errors) - MAX_SHOWN} more."] if len(errors) > MAX_SHOWN else []
        raise DataError(
            "\n".join(
                ["The data cannot be trained on.", *errors[:MAX_SHOWN], *more, "The Data tab lists all problems."]
            )
        )
