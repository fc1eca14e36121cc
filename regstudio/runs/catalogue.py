"""All runs of a folder, each in a few figures."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig, settings
from regstudio.errors import RunError
from regstudio.runs.events import EpochDone, RunFinished, RunStarted
from regstudio.runs.run import Run

Stamp = tuple[int, int, int, bool]  # what changes with a run


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One run: `state` is running, finished, stopped, failed or interrupted (a crash or a kill; it can be resumed).

    `settings` holds the settings that differ from their defaults, but for names and places.
    """

    name: str
    path: Path
    data: Path
    state: str
    message: str
    epochs_done: int
    epochs: int
    seconds: float
    best_dice: float | None
    best_epoch: int | None
    njd_percent: float | None
    settings: dict[str, Any]


def summarise_run(run: Run) -> RunSummary:
    """Return the run in a few figures; raises RunError where its config cannot be read."""
    config, events = run.config(), run.milestones()
    epochs = [event for event in events if isinstance(event, EpochDone)]
    scored = [event for event in epochs if "dice" in event.metrics]
    best = max(scored, key=lambda event: event.metrics["dice"], default=None)
    started = any(isinstance(event, RunStarted) for event in events)
    end = events[-1] if events and isinstance(events[-1], RunFinished) else None
    state = "running" if run.is_training() else end.reason if end else "interrupted" if started else "failed"
    return RunSummary(
        name=run.path.name,
        path=run.path,
        data=config.layout.data_base_dir,
        state=state,
        message=end.message if end else "",
        epochs_done=epochs[-1].epoch if epochs else 0,
        epochs=config.optimisation.epochs,
        seconds=sum(event.seconds for event in epochs),
        best_dice=best.metrics["dice"] if best else None,
        best_epoch=best.epoch if best else None,
        njd_percent=best.metrics.get("njd_percent") if best else None,
        settings=_changed_settings(config),
    )


class RunCatalogue:
    """The runs of one folder. A run is read again only when it changed, so that it may be asked often; thread-safe."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[Stamp, RunSummary | None]] = {}

    def summaries(self) -> list[RunSummary]:
        """Return a summary of every run, the newest first; folders that are no runs are passed over."""
        with self._lock:
            stamps = self._stamps()
            self._known = {
                path: self._known[path]
                if path in self._known and self._known[path][0] == stamp
                else (stamp, _summary_or_none(Run(path)))
                for path, stamp in sorted(stamps.items(), key=lambda item: item[1], reverse=True)
            }
            return [summary for _, summary in self._known.values() if summary is not None]

    def _stamps(self) -> dict[Path, Stamp]:
        if not self._runs_dir.is_dir():
            return {}
        stamps = {}
        for path in self._runs_dir.iterdir():
            run = Run(path)
            try:
                created = run.config_path.stat().st_mtime_ns
                events = run.events_path.stat() if run.events_path.exists() else None
            except OSError:  # no run, or one that is being renamed or deleted just now
                continue
            stamps[path] = (
                created,
                events.st_mtime_ns if events else 0,
                events.st_size if events else 0,
                run.is_training(),
            )
        return stamps


def _summary_or_none(run: Run) -> RunSummary | None:
    try:
        return summarise_run(run)
    except (RunError, OSError):
        return None


def _changed_settings(config: TrainConfig) -> dict[str, Any]:
    values = {setting.name: getattr(getattr(config, setting.section), setting.name) for setting in settings()}
    compared = [setting for setting in settings() if setting.section not in ("layout", "run")]
    return {setting.name: values[setting.name] for setting in compared if values[setting.name] != setting.default}
