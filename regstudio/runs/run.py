"""Run: a folder with config.json, events.jsonl, log/log.txt, checkpoints/ and previews/; all paths are made here."""

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter

from regstudio.config import TrainConfig, build_config, extend_epochs, is_general, read_config, settings
from regstudio.errors import ConfigError, DiskFullError, RunError
from regstudio.files import append, is_within, name_full_disk, write_text
from regstudio.runs import lock
from regstudio.runs.events import (
    ImageAligned,
    PairValidated,
    StepDone,
    TrainEvent,
    event_to_dict,
)
from regstudio.runs.follower import Follower
from regstudio.schema import SchemaError, parse, read_bytes
from regstudio.temporary import remove_leftovers

_RECORD: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


@dataclass(frozen=True)
class Run:
    """One run folder: its paths, its record, its lock."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The TrainConfig, as JSON."""
        return self.path / "config.json"

    @property
    def split_path(self) -> Path:
        """The table of the pairs that were trained and validated on, where the training set some apart itself."""
        return self.path / "split.csv"

    @property
    def events_path(self) -> Path:
        """All events, one JSON object a line; append-only."""
        return self.path / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """The log for people."""
        return self.path / "log" / "log.txt"

    @property
    def best_path(self) -> Path:
        """The checkpoint that did best in validation: by Dice, else by landmarks, else by similarity."""
        return self.path / "checkpoints" / "best_model.pt"

    @property
    def last_path(self) -> Path:
        """The checkpoint to resume from: the latest saved state."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def failed_path(self) -> Path:
        """The state and images of a step whose loss was not finite, for debugging."""
        return self.path / "checkpoints" / "failed.pt"

    @property
    def pair_path(self) -> Path:
        """The pair of the previews: an .npz with fixed, moving and, with labels, fixed_label and moving_label."""
        return self.path / "previews" / "pair.npz"

    def preview_path(self, epoch: int) -> Path:
        """The registration of that pair after an epoch: an .npz with warped, flow and, with labels, warped_label."""
        return self.path / "previews" / f"epoch_{epoch:03d}.npz"

    def epoch_path(self, epoch: int) -> Path:
        """The checkpoint of one epoch."""
        return self.path / "checkpoints" / f"epoch_{epoch:03d}.pt"

    def config(self) -> TrainConfig:
        """Read the run's TrainConfig; raises RunError if it is missing or damaged."""
        try:
            if self.config_path.exists() and not self.holds(self.config_path):
                raise SchemaError("it is no file of this folder")
            record = parse(read_bytes(self.config_path), _RECORD)
            return read_config(record)
        except (OSError, SchemaError, ConfigError) as error:
            raise RunError(f"{self.config_path}: cannot be read ({error}).") from error

    def holds(self, path: Path) -> bool:
        """Whether a file is there and this run's own; what links out of the run's folder is not."""
        return is_within(path, self.path)

    def write_config(self, config: TrainConfig) -> None:
        """Write config.json, with absolute paths."""
        path_settings = [setting for setting in settings() if setting.type is Path]
        paths = {setting.name: getattr(getattr(config, setting.section), setting.name) for setting in path_settings}
        absolute = {name: path.resolve() for name, path in paths.items() if path and not is_general(path)}
        write_text(self.config_path, build_config(absolute, config).model_dump_json(indent=2) + "\n")

    def append(self, event: TrainEvent) -> None:
        """Append one event to events.jsonl. Values that are not finite become null, as JSON has no NaN."""
        record = _finite({**event_to_dict(event), "time": round(time.time(), 3)})
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        append(self.events_path, line if self._ends_with_newline() else b"\n" + line)  # a crash cut the last one

    def _ends_with_newline(self) -> bool:
        if not self.events_path.exists() or not self.events_path.stat().st_size:
            return True
        with self.events_path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"

    def log(self, line: str) -> None:
        """Append a line, with date and time, to log/log.txt."""
        append(self.log_path, f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}\n".encode())

    def events(self) -> list[TrainEvent]:
        """Read all events of one consistent training; see Follower."""
        return Follower(self.events_path).update()

    def milestones(self) -> list[TrainEvent]:
        """Read the events without those of single steps and images, which are most of a long run; ten times as fast."""
        return self.follow_milestones().update()

    def follow_milestones(self) -> Follower:
        """Return what reads the milestones as they are written."""
        return Follower(self.events_path, without=(StepDone, PairValidated, ImageAligned))

    def lock(self) -> FileLock:
        """Acquire and return the lock against a second trainer.

        Raises RunError if another process holds it, or if what the trainer would write lies outside the run's folder.
        """
        folder = self.path.resolve()
        for path in (self.events_path, self.log_path, self.last_path, self.pair_path):
            if not path.resolve().is_relative_to(folder):
                raise RunError(f"{path}: links out of the run's folder, and nothing is written there. Remove the link.")
        try:
            held = lock.acquire(self.path / ".lock")
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be locked, as nothing can be written there ({error.strerror})."
            ) from None
        if held is None:
            raise RunError(f"{self.path}: another process is training this run. Stop that one first.")
        return held

    def remove_leftovers(self) -> None:
        """Remove the temporary files of killed processes; only for who holds the lock, or where nobody does."""
        for folder in (self.path, *(path.parent for path in (self.log_path, self.last_path, self.pair_path))):
            remove_leftovers(folder, alone=True)

    def is_training(self) -> bool:
        """Whether any process is training the run now; asking changes nothing and keeps no trainer out."""
        return lock.is_held(self.path / ".lock")


def runs_in(folder: Path) -> list[Run]:
    """Return what may be the runs of a folder, in no order, without looking into them; none where there is no such."""
    return [Run(path) for path in folder.iterdir()] if folder.is_dir() else []


def create_run(config: TrainConfig) -> Run:
    """Create the folder of a new run and write its config; raises RunError if the name is taken."""
    base_name = config.run.run_name or f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = [base_name] if config.run.run_name else [base_name, *(f"{base_name}_{number}" for number in range(2, 100))]
    for name in names:
        run = Run((config.run.runs_dir / name).resolve())
        try:
            with name_full_disk(run.path, run.path):
                (run.path / "checkpoints").mkdir(parents=True)
        except FileExistsError:
            continue
        except DiskFullError:
            raise
        except OSError as error:
            raise RunError(
                f"{run.path}: the run's folder cannot be made ({error.strerror}). Choose another --runs_dir."
            ) from None
        break
    else:
        raise RunError(
            f"{run.path}: there is a run of this name already. Choose another --run_name, or go on with it: "
            f"regstudio train --resume {run.path}"
        )
    try:
        run.log_path.parent.mkdir()
        run.write_config(config)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)  # a folder without settings is no run
        raise
    return run


def resumed_config(run: Run, changes: Mapping[str, Any]) -> TrainConfig:
    """Return the settings to resume a run with: its own config with `changes` to resumable settings.

    Raises ConfigError for a change to any other setting, RunError if the run's config cannot be read.
    """
    config = run.config()
    refused = sorted(changes.keys() - {setting.name for setting in settings() if setting.resumable})
    if refused:
        flags = ", ".join(f"--{name}" for name in refused)
        raise ConfigError(f"{flags} cannot change in a run that is resumed. Start a new run, with --load_model.")
    return build_config(changes, extend_epochs(config, changes.get("epochs", config.optimisation.epochs)))


def open_run(path: Path) -> Run:
    """Return the run at `path`; raises RunError if there is none."""
    run = Run(path.resolve())
    try:
        found = run.config_path.is_file()
    except (OSError, ValueError):  # a name that no folder can have
        found = False
    if not found:
        raise RunError(f"{path}: is not a run; a run is a folder with a config.json, such as ./runs/NAME.")
    return run


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
