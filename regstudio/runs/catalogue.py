"""Catalogue of the runs in a folder, with a summary of each."""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig, settings
from regstudio.errors import RunError
from regstudio.runs.events import EpochDone, RunFinished, RunStarted, TrainEvent
from regstudio.runs.follower import Follower
from regstudio.runs.run import Run, runs_in

UNREADABLE = "unreadable"
MAX_REASON = 300  # letters
Stamp = tuple[int, int, int, bool]  # changes whenever the run changes


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Summary of a run: `state` is running, finished, stopped, failed or interrupted (by a crash or kill; resumable).

    It is "unreadable" where the folder holds what no run does; `message` then says why, and the rest is empty.

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
    best_tre: float | None = None
    best_epoch: int | None
    njd_percent: float | None
    settings: dict[str, Any]


def summarise_run(run: Run, milestones: Sequence[TrainEvent] | None = None) -> RunSummary:
    """Return the summary of a run; raises RunError if its config cannot be read. `milestones` spares reading them."""
    config, events = run.config(), run.milestones() if milestones is None else milestones
    epochs = [event for event in events if isinstance(event, EpochDone)]
    scored = [event for event in epochs if "dice" in event.metrics]
    best = max(scored, key=lambda event: event.metrics["dice"], default=None)
    best = best or next((event for event in reversed(epochs) if event.best), None)
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
        best_dice=best.metrics.get("dice") if best else None,
        best_tre=best.metrics.get("tre") if best else None,
        best_epoch=best.epoch if best else None,
        njd_percent=best.metrics.get("njd_percent") if best else None,
        settings=_changed_settings(config),
    )


class RunCatalogue:
    """The runs of one folder; thread-safe. Caches the summary of each run, and reads only what was added since."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._lock = threading.Lock()
        self._cache: dict[Path, tuple[Stamp, RunSummary]] = {}
        self._followers: dict[Path, tuple[int, Follower]] = {}  # with the inode of the file that is followed

    def milestones(self, run: Run) -> list[TrainEvent]:
        """Return the run's events without those of single steps and images."""
        with self._lock:
            return list(self._milestones(run))

    def running(self) -> Run | None:
        """Return the newest run that any process is training now; reads no record and waits for nobody."""
        active = [run for run in runs_in(self._runs_dir) if run.is_training() and run.holds(run.config_path)]
        return max(active, key=lambda run: run.config_path.stat().st_mtime_ns, default=None)

    def summaries(self) -> list[RunSummary]:
        """Return a summary of every run, newest first; folders without a config.json are none."""
        with self._lock:
            stamps = self._stamps()
            self._cache = {
                path: self._cache[path]
                if path in self._cache and self._cache[path][0] == stamp
                else (stamp, self._summary(Run(path)))
                for path, stamp in sorted(stamps.items(), key=lambda item: item[1], reverse=True)
            }
            self._followers = {path: self._followers[path] for path in stamps if path in self._followers}
            return [summary for _, summary in self._cache.values()]

    def _stamps(self) -> dict[Path, Stamp]:
        if not self._runs_dir.is_dir():
            return {}
        stamps = {}
        for path in self._runs_dir.iterdir():
            run = Run(path)
            try:
                created = run.config_path.stat().st_mtime_ns
                events = run.events_path.stat() if run.events_path.exists() else None
            except (FileNotFoundError, NotADirectoryError):  # not a run, or just being renamed or deleted
                continue
            except OSError:
                created, events = 0, None
            stamps[path] = (
                created,
                events.st_mtime_ns if events else 0,
                events.st_size if events else 0,
                run.is_training(),
            )
        return stamps

    def _milestones(self, run: Run) -> list[TrainEvent]:
        inode = run.events_path.stat().st_ino if run.events_path.exists() else 0
        known, follower = self._followers.get(run.path, (0, None))
        if follower is None or known != inode:  # a run made anew under the same name has another file
            follower = run.follow_milestones()
            self._followers[run.path] = inode, follower
        return follower.update()

    def _summary(self, run: Run) -> RunSummary:
        try:
            run.path.name.encode()
            if run.path.resolve().parent != self._runs_dir.resolve():
                return _unreadable(run, "it is a link to another folder")
            return summarise_run(run, self._milestones(run))
        except UnicodeEncodeError:
            return _unreadable(run, "its name is not UTF-8; rename it")
        except RunError as error:
            return _unreadable(run, f"config.json: {error.__cause__ or error}")
        except (OSError, RuntimeError) as error:
            return _unreadable(run, str(error))


def _unreadable(run: Run, why: str) -> RunSummary:
    return RunSummary(
        name=os.fsencode(run.path.name).decode("utf-8", "backslashreplace"),
        path=run.path,
        data=Path(),
        state=UNREADABLE,
        message=why.splitlines()[0][:MAX_REASON],
        epochs_done=0,
        epochs=0,
        seconds=0.0,
        best_dice=None,
        best_tre=None,
        best_epoch=None,
        njd_percent=None,
        settings={},
    )


def _changed_settings(config: TrainConfig) -> dict[str, Any]:
    values = {setting.name: getattr(getattr(config, setting.section), setting.name) for setting in settings()}
    compared = [setting for setting in settings() if setting.section not in ("layout", "run")]
    return {setting.name: values[setting.name] for setting in compared if values[setting.name] != setting.default}
