"""Trainings that wait for the one under way; a file in the runs folder keeps them over a restart."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from regstudio.config import TrainConfig, build_config, read_config
from regstudio.errors import ConfigError, RegStudioError, RunError
from regstudio.files import write_text
from regstudio.schema import SchemaError, parse, read_bytes
from regstudio.studio.studio import Studio
from regstudio.studio.training_control import fresh_name, possible_now, refuse_bad

FILE = "waiting.json"
MAX_WAITING = 100
LOOK_SECONDS = 1.0  # from one look whether the next may begin
_RECORDS: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(list[dict[str, Any]])


class WaitingLine:
    """The line of one studio; thread-safe. Nothing starts before `begin`, or the first `add`."""

    def __init__(self, studio: Studio, look_seconds: float = LOOK_SECONDS) -> None:
        self._studio, self._look_seconds = studio, look_seconds
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None
        self._refused = ""

    @property
    def path(self) -> Path:
        """The file that keeps the line."""
        return self._studio.runs_dir / FILE

    @property
    def refused(self) -> str:
        """Why the last training that could not start did not; empty if none was refused."""
        return self._refused

    def names(self) -> list[str]:
        """Return the names of the runs that wait, in their order."""
        with self._lock:
            return [str(config.run.run_name) for config in self._read()]

    def add(self, configs: Sequence[TrainConfig]) -> list[str]:
        """Put trainings at the end of the line, each under a name that no run has; return these names.

        Raises RunError where the line is full.
        """
        with self._lock:
            waiting = self._read()
            if len(waiting) + len(configs) > MAX_WAITING:
                raise RunError(f"{len(waiting)} trainings wait already, and {MAX_WAITING} is the most.")
            names = []
            for config in configs:
                taken = {str(other.run.run_name) for other in waiting}
                name = fresh_name(self._studio, config.run.run_name or "training", taken)
                waiting.append(build_config({"run_name": name}, config))
                names.append(str(name))
            self._write(waiting)
        self.begin()
        return names

    def remove(self, name: str) -> None:
        """Take a training out of the line; raises RunError where none of that name waits."""
        with self._lock:
            waiting = self._read()
            kept = [config for config in waiting if config.run.run_name != name]
            if len(kept) == len(waiting):
                raise RunError(f"{name} does not wait any more.")
            self._write(kept)

    def begin(self) -> None:
        """Start what waits as soon as nothing trains, from now on."""
        with self._lock:
            if self._thread is None and not self._ends.is_set():
                self._thread = threading.Thread(target=self._follow, name="waiting line", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Start nothing any more; what waits stays in the file."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> None:
        """Start the next training if there is one and nothing trains; one that cannot start leaves the line."""
        with self._lock:
            waiting = self._read()
        if not waiting or not possible_now(self._studio)["start"]:
            return
        name = waiting[0].run.run_name
        try:  # without the lock: to open the data may take long
            self._start(waiting[0])
            self._refused = ""
        except RegStudioError as error:
            if not possible_now(self._studio)["start"]:  # the user has started another meanwhile
                return
            self._refused = f"{name} could not start: {error}"
        with self._lock:
            self._write([config for config in self._read() if config.run.run_name != name])

    def _follow(self) -> None:
        while not self._ends.wait(self._look_seconds):
            self.look()

    def _start(self, config: TrainConfig) -> None:
        studio = self._studio
        studio.allowed(str(config.layout.data_base_dir))
        if config.run.runs_dir.resolve() != studio.runs_dir:
            raise ConfigError(f"{config.run.runs_dir}: is not the folder of the runs of this page.")
        report = studio.check(config)
        refuse_bad(report)
        studio.job.start(config, report.index)

    def _read(self) -> list[TrainConfig]:
        if not self.path.is_file() or self.path.is_symlink():
            return []
        try:
            return [read_config(record) for record in parse(read_bytes(self.path), _RECORDS)]
        except (OSError, SchemaError, ConfigError) as error:
            self._refused = f"{self.path}: cannot be read ({error}). Delete it."
            return []

    def _write(self, waiting: Sequence[TrainConfig]) -> None:
        if not waiting:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps([config.model_dump(mode="json") for config in waiting], indent=1) + "\n")
