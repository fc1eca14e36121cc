"""The studio: what all pages share. The one training, the chosen data, the runs, and which paths the page may read.

Functions that need torch import it when they run, so that the first page does not wait for it.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regstudio.config import TrainConfig, build_config, settings
from regstudio.data.check_report import CheckReport
from regstudio.data.decoder import read_apart
from regstudio.data.layout import DataIndex, Layout, index_folder
from regstudio.data.problems import Problem
from regstudio.errors import ConfigError, DataError, RunError
from regstudio.runs.catalogue import RunCatalogue, RunSummary
from regstudio.runs.events import TrainEvent
from regstudio.runs.run import Run, open_run
from regstudio.temporary import remove_leftovers

if TYPE_CHECKING:
    from regstudio.training.job import TrainJob

UPLOADS = "data_uploads"  # the folder of uploaded data sets, below the first root
MAX_OPENED = 1000  # images of either set
NO_EFFECT_ON_PIXELS = {"cache_gb", "disk_cache_gb", "num_workers"}  # settings of reading


class _DataChangedError(Exception):
    """Other data were chosen while the data were being opened."""


class Studio:
    """One process, one training, one folder of runs; all pages and browser tabs see the same.

    `roots` are the folders below which the page may read and write; `demo_dir` is the demo data set. A read-only
    studio, for a shared page, knows only the runs in `shown` and has no roots.
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
        if self.roots:
            read_apart(self.roots[0] / UPLOADS)
        self.demo_dir = demo_dir
        self.shown = shown
        self._runs = RunCatalogue(self.runs_dir)
        self._lock = threading.Lock()
        self._job: TrainJob | None = None
        self._config = build_config({"data_base_dir": data_base_dir, "runs_dir": self.runs_dir})
        self._report: CheckReport | None = None
        self._data_version = 0  # grows with every change of the data: a report on older data is not kept
        self._opening_lock = threading.Lock()
        self._opened: tuple[int, int] | None = None

    @property
    def read_only(self) -> bool:
        """Whether this is the studio of a shared page, which shows the chosen runs and changes nothing."""
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
        """The training if `job` was used before; unlike `job`, never waits for torch."""
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
        """The current settings, with the chosen data and runs folder."""
        return self._config

    def change_settings(self, values: Mapping[str, Any]) -> TrainConfig:
        """Change settings, flat by name; raises ConfigError for a bad value or a path out of bounds."""
        if "data_base_dir" in values:
            values = {**values, "data_base_dir": self.allowed(str(values["data_base_dir"]))}
        with self._lock:
            previous, config = self._config, build_config(values, self._config)
            for name, value in config.layout.model_dump().items():
                if name.endswith("_subdir"):  # "/etc" or "../.." would lead out of the data folder
                    self.allowed(str(config.layout.data_base_dir / value))
            self._config = config
            if (previous.layout, _reading(previous)) != (config.layout, _reading(config)):
                self._forget()
            return config

    def choose_data(self, folder: str, values: Mapping[str, Any]) -> Path:
        """Choose a data folder, with values of settings of the layout and of reading, and return its path.

        Raises ConfigError if it, or a name in it, leads out of the roots, and DataError if there is no such folder.
        """
        base = self.allowed(folder)
        if not base.is_dir():
            raise DataError(f"{base}: there is no such folder. Choose another, or upload one.")
        for setting in settings("layout"):
            if not setting.resumable and setting.name != "data_base_dir":
                self.allowed(str(base / str(values.get(setting.name, ""))))
        self.change_settings({**values, "data_base_dir": base})
        self.forget_report()
        return base

    def ensure_demo(self) -> Path:
        """Make the demo data if they are missing, and return their folder."""
        if not (self.demo_dir / "fixed").is_dir():
            from regstudio.data.phantom import make_demo

            make_demo(self.demo_dir)
        return self.demo_dir

    def report(self) -> CheckReport:
        """Return what the chosen data folder holds and what is wrong with it; open its files only once.

        One thread opens a folder while the others wait; `opened` counts its files. When other data are chosen
        meanwhile, all get the report on those.
        """
        while (report := self._report) is None:
            with self._opening_lock, suppress(_DataChangedError):
                version, config = self._data_version, self._config
                if self._report is None:
                    try:
                        self._keep(version, self.check(config, functools.partial(self._counted, version)))
                    finally:
                        self._opened = None
        return report

    @property
    def opened(self) -> tuple[int, int] | None:
        """How many files of how many `report` has opened by now; None while it is not opening any."""
        return self._opened

    @property
    def known_report(self) -> CheckReport | None:
        """The report if the files were opened before; unlike `report`, never waits."""
        return self._report

    def forget_report(self) -> None:
        """Make `report` open the files again, because they changed."""
        with self._lock:
            self._forget()

    def index(self, config: TrainConfig) -> DataIndex:
        """Index the data of `config` by file names; if a file links out of the roots, return only that error."""
        index = index_folder(Layout(**config.layout.model_dump()))
        strays = list(self._strays(index))
        if not strays:
            return index
        target = strays[0].resolve()
        more = f", and so do {len(strays) - 1:,} more files" if len(strays) > 1 else ""
        problem = Problem(
            severity="error",
            path=strays[0],
            what=f"leads to {target}, which the page may not read{more}",
            remedy=f"Copy the files here, or start RegStudio with --root {target.parent}.",
        )
        return DataIndex(root=index.root, atlas=None, train=(), validation=(), problems=(problem,))

    def check(
        self, config: TrainConfig, progress: Callable[[Sequence[Any]], Iterable[Any]] = lambda jobs: jobs
    ) -> CheckReport:
        """Open the data of `config` and return the report; open nothing if a file links out of the roots."""
        from regstudio.data.check import check
        from regstudio.training.setup import check_data

        index = self.index(config)
        if not (index.atlas or index.train or index.validation):
            return check(index)
        return check_data(config, most=MAX_OPENED, most_validation=MAX_OPENED, progress=progress)

    def allowed(self, path: str) -> Path:
        """Return the path, resolved; raises ConfigError unless it lies below a root once links are resolved."""
        try:
            resolved = Path(path.strip()).expanduser().resolve()
        except (ValueError, RuntimeError, OSError) as error:  # a null byte, no such home, a loop of links
            raise ConfigError(f"{path!r} is not a path ({error}).") from None
        if not any(resolved.is_relative_to(root) for root in self.roots):
            places = ", ".join(map(str, self.roots))
            raise ConfigError(f"{resolved}: may not be opened from the page, only what lies below {places}.")
        return resolved

    def run(self, name: str) -> Run:
        """Return the run of that name in the runs folder; raises RunError if there is none."""
        path = (self.runs_dir / name.replace("\0", "")).resolve()
        hidden = self.shown is not None and path.name not in self.shown
        if not name or path.parent != self.runs_dir or hidden:
            raise RunError(f"{name!r} is not the name of a run in {self.runs_dir}.")
        return open_run(path)

    def runs(self) -> list[RunSummary]:
        """Return a summary of every run that may be shown, the newest first."""
        return [run for run in self._runs.summaries() if self.shown is None or run.name in self.shown]

    def milestones(self, run: Run) -> list[TrainEvent]:
        """Return a run's events without those of single steps and images; reads only what is new."""
        return self._runs.milestones(run)

    def running(self) -> Run | None:
        """Return the newest run in training, in this process or another; None if there is none that may be shown."""
        run = self._runs.running()
        return run if run and (self.shown is None or run.path.name in self.shown) else None

    def remove_leftovers(self) -> None:
        """Remove the temporary files that killed processes left in the runs, but for those in training, and uploads."""
        for run in [Run(path) for path in self.runs_dir.iterdir()] if self.runs_dir.is_dir() else []:
            if not run.is_training() and run.config_path.is_file():
                run.remove_leftovers()
        for root in self.roots:
            remove_leftovers(root / UPLOADS)

    def _forget(self) -> None:
        self._data_version += 1
        self._report = None

    def _keep(self, version: int, report: CheckReport) -> None:
        with self._lock:
            if version == self._data_version:
                self._report = report

    def _counted(self, version: int, jobs: Sequence[Any]) -> Iterator[Any]:
        """Yield the jobs and count them in `opened`, until other data are chosen."""
        for done, job in enumerate(jobs):
            if version != self._data_version:
                raise _DataChangedError
            self._opened = done, len(jobs)
            yield job

    def _strays(self, index: DataIndex) -> Iterator[Path]:
        """Yield the files that lie outside the roots once links are resolved."""
        cases = (*([index.atlas] if index.atlas else []), *index.train, *index.validation)
        inside: dict[Path, bool] = {}
        for path in (path for case in cases for path in (case.image, case.label) if path):
            folder = path.parent
            if folder not in inside:
                inside[folder] = self._is_inside(folder)
            if not inside[folder] or (path.is_symlink() and not self._is_inside(path)):
                yield path

    def _is_inside(self, path: Path) -> bool:
        try:
            self.allowed(str(path))
        except ConfigError:
            return False
        return True


def _reading(config: TrainConfig) -> dict[str, Any]:
    return config.reading.model_dump(exclude=NO_EFFECT_ON_PIXELS)
