"""What the pages share: the one training, the chosen data, the runs, and which paths may be read. No gradio here."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig, build_config
from regstudio.data.report import Report
from regstudio.errors import ConfigError, RunError
from regstudio.training.job import TrainJob
from regstudio.training.runs import Run, open_run
from regstudio.training.setup import check_data

MOST_OPENED = 2000


class Studio:
    """One process, one training, one folder of runs; all pages and browser tabs see the same.

    `roots` are the folders below which the page may read and write; `demo_dir` is the demo data set.
    """

    def __init__(self, *, runs_dir: Path, roots: tuple[Path, ...], demo_dir: Path, data_base_dir: Path) -> None:
        self.job = TrainJob()
        self.runs_dir = runs_dir.resolve()
        self.roots = tuple(dict.fromkeys(root.resolve() for root in (*roots, runs_dir, data_base_dir)))
        self.demo_dir = demo_dir
        self._lock = threading.Lock()
        self._config = build_config({"data_base_dir": data_base_dir, "runs_dir": self.runs_dir})
        self._report: Report | None = None

    @property
    def config(self) -> TrainConfig:
        """The chosen data and runs folder, all other knobs at their defaults or as last set."""
        return self._config

    def set_knobs(self, values: Mapping[str, Any]) -> TrainConfig:
        """Change knobs, flat by name; raises ConfigError for what is no value, or a path out of bounds."""
        if "data_base_dir" in values:
            values = {**values, "data_base_dir": self.allowed(str(values["data_base_dir"]))}
        with self._lock:
            before, self._config = self._config, build_config(values, self._config)
            if (before.layout, before.reading) != (self._config.layout, self._config.reading):
                self._report = None
            return self._config

    def report(self) -> Report:
        """Return what the chosen data folder holds and what is wrong with it; opened once for each choice."""
        report = self._report
        if report is None:
            report = self._report = check_data(self._config, most=MOST_OPENED)
        return report

    def forget_report(self) -> None:
        """Look at the data folder anew the next time, because its files changed."""
        self._report = None

    def allowed(self, path: str) -> Path:
        """Return the path, resolved; raises ConfigError unless it lies below one of the roots, links followed."""
        resolved = Path(path.strip()).expanduser().resolve()
        if not any(resolved.is_relative_to(root) for root in self.roots):
            places = ", ".join(map(str, self.roots))
            raise ConfigError(f"{resolved}: may not be opened from the page, only what lies below {places}.")
        return resolved

    def run(self, name: str) -> Run:
        """Return the run of that name in the runs folder; raises RunError where there is none."""
        path = (self.runs_dir / name).resolve()
        if not name or path.parent != self.runs_dir:
            raise RunError(f"{name!r} is not the name of a run in {self.runs_dir}.")
        return open_run(path)
