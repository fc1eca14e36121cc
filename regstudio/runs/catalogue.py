"""Catalogue of the runs in a folder, with a summary of each."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig, settings
from regstudio.errors import RunError
from regstudio.runs.events import EpochDone, RunFinished, RunStarted
from regstudio.runs.run import Run

Stamp = tuple[int, int, int, bool]  # changes whenever the run changes


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Summary of a run: `state` is running, finished, stopped, failed or interrupted (by a crash or kill; resumable).

    `settings` holds the settings that differ from their defaults, without those of the sections layout and run.
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
    """Return the summary of a run; raises RunError if its config cannot be read."""
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
    """The runs of one folder; thread-safe. Caches the summary of each run until the run changes."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._lock = threading.Lock()
        self._cache: dict[Path, tuple[Stamp, RunSummary | None]] = {}

    def summaries(self) -> list[RunSummary]:
        """Return a summary of every run, newest first; folders that are no runs are skipped."""
        with self._lock:
            stamps = self._stamps()
            self._cache = {
                path: self._cache[path]
                if path in self._cache and self._cache[path][0] == stamp
                else (stamp, _summary_or_none(Run(path)))
                for path, stamp in sorted(stamps.items(), key=lambda item: item[1], reverse=True)
            }
            return [summary for _, summary in self._cache.values() if summary is not None]

    def _stamps(self) -> dict[Path, Stamp]:
        if not self._runs_dir.is_dir():
            return {}
        stamps = {}
        for path in self._runs_dir.iterdir():
            run = Run(path)
            try:
                created = run.config_path.stat().st_mtime_ns
                events = run.events_path.stat() if run.events_path.exists() else None
            except OSError:  # not a run, or just being renamed or deleted
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
