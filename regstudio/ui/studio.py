"""What the pages share: the one training, the chosen data, the runs, and which paths may be read.

No gradio here; and torch is imported by what needs it, when it needs it, so that the first page need not wait.
"""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regstudio.config import TrainConfig, build_config
from regstudio.data.report import Report
from regstudio.errors import ConfigError, RunError
from regstudio.training.catalog import RunSummary
from regstudio.training.runs import Run, open_run
from regstudio.ui.run_list import RunList

if TYPE_CHECKING:
    from regstudio.training.job import TrainJob

MOST_OPENED = 2000


class Studio:
    """One process, one training, one folder of runs; all pages and browser tabs see the same.

    `roots` are the folders below which the page may read and write; `demo_dir` is the demo data set. A read-only
    studio, for a page that others see, knows only the runs in `shown` and has no roots.
    """

    def __init__(
        self,
        *,
        runs_dir: Path,
        roots: tuple[Path, ...],
        demo_dir: Path,
        data_base_dir: Path,
        shown: frozenset[str] | None = None,
    ) -> None:
        self.runs_dir = runs_dir.resolve()
        own = () if shown is not None else (runs_dir, data_base_dir, demo_dir)
        self.roots = tuple(dict.fromkeys(root.resolve() for root in (*roots, *own)))
        self.demo_dir = demo_dir
        self.shown = shown
        self._runs = RunList(self.runs_dir)
        self._lock = threading.Lock()
        self._job: TrainJob | None = None
        self._config = build_config({"data_base_dir": data_base_dir, "runs_dir": self.runs_dir})
        self._report: Report | None = None

    @property
    def read_only(self) -> bool:
        """Whether the page is one that others see: it shows the chosen runs and changes nothing."""
        return self.shown is not None

    @property
    def job(self) -> "TrainJob":
        """The one training of this process."""
        from regstudio.training.job import TrainJob

        with self._lock:
            if self._job is None:
                self._job = TrainJob()
            return self._job

    @property
    def known_job(self) -> "TrainJob | None":
        """The training if anyone has asked for it yet; unlike `job`, never waits for torch."""
        return self._job

    def shared(self, names: Iterable[str]) -> "Studio":
        """Return a read-only studio that knows only the runs of these names; raises RunError where one is missing."""
        shown = frozenset(self.run(name).path.name for name in names)
        return Studio(
            runs_dir=self.runs_dir,
            roots=(),
            demo_dir=self.demo_dir,
            data_base_dir=self._config.layout.data_base_dir,
            shown=shown,
        )

    @property
    def config(self) -> TrainConfig:
        """The chosen data and runs folder, all other knobs at their defaults or as last set."""
        return self._config

    def set_knobs(self, values: Mapping[str, Any]) -> TrainConfig:
        """Change knobs, flat by name; raises ConfigError for what is no value, or a path out of bounds."""
        if "data_base_dir" in values:
            values = {**values, "data_base_dir": self.allowed(str(values["data_base_dir"]))}
        with self._lock:
            before, config = self._config, build_config(values, self._config)
            for name, value in config.layout.model_dump().items():
                if name.endswith("_subdir"):  # "/etc" or "../.." would lead out of the data folder
                    self.allowed(str(config.layout.data_base_dir / value))
            self._config = config
            if (before.layout, before.reading) != (self._config.layout, self._config.reading):
                self._report = None
            return self._config

    def report(self) -> Report:
        """Return what the chosen data folder holds and what is wrong with it; opened once for each choice."""
        report, config = self._report, self._config
        if report is None:
            from regstudio.training.setup import check_data

            report = check_data(config, most=MOST_OPENED)
            if config is self._config:  # or another browser tab chose other data meanwhile
                self._report = report
        return report

    def forget_report(self) -> None:
        """Look at the data folder anew the next time, because its files changed."""
        self._report = None

    def allowed(self, path: str) -> Path:
        """Return the path, resolved; raises ConfigError unless it lies below one of the roots, links followed."""
        try:
            resolved = Path(path.strip()).expanduser().resolve()
        except (ValueError, RuntimeError, OSError) as error:  # a null byte, no such home, a loop of links
            raise ConfigError(f"{path!r} is not a path ({error}).") from None
        if not any(resolved.is_relative_to(root) for root in self.roots):
            places = ", ".join(map(str, self.roots))
            raise ConfigError(f"{resolved}: may not be opened from the page, only what lies below {places}.")
        return resolved

    def run(self, name: str) -> Run:
        """Return the run of that name in the runs folder; raises RunError where there is none."""
        path = (self.runs_dir / name.replace("\0", "")).resolve()
        hidden = self.shown is not None and path.name not in self.shown
        if not name or path.parent != self.runs_dir or hidden:
            raise RunError(f"{name!r} is not the name of a run in {self.runs_dir}.")
        return open_run(path)

    def runs(self) -> list[RunSummary]:
        """Return a summary of every run that may be seen, the newest first."""
        return [run for run in self._runs.summaries() if self.shown is None or run.name in self.shown]
