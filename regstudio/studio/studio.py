"""What the pages share: the one training, the chosen data, the runs, and which paths may be read.

No gradio here; and torch is imported by what needs it, when it needs it, so that the first page need not wait.
"""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regstudio.config import TrainConfig, build_config
from regstudio.data.check_report import CheckReport
from regstudio.data.layout import DataIndex, Layout, index_folder
from regstudio.data.problems import Problem
from regstudio.errors import ConfigError, RunError
from regstudio.runs.catalogue import RunCatalogue, RunSummary
from regstudio.runs.run import Run, open_run

if TYPE_CHECKING:
    from regstudio.training.job import TrainJob

MAX_OPENED = 1000  # images of either set
UNSEEN = {"cache_gb", "disk_cache_gb", "num_workers"}  # settings of reading that change nothing in what is read


class _ChosenAnewError(Exception):
    """Other data were chosen while some were being opened."""


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
        self._runs = RunCatalogue(self.runs_dir)
        self._lock = threading.Lock()
        self._job: TrainJob | None = None
        self._config = build_config({"data_base_dir": data_base_dir, "runs_dir": self.runs_dir})
        self._report: CheckReport | None = None
        self._choice = 0  # counts the choices of data, to tell whether what was opened is still what is chosen
        self._opening = threading.Lock()
        self._opened: tuple[int, int] | None = None

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
        """The chosen data and runs folder, all other settings at their defaults or as last set."""
        return self._config

    def change_settings(self, values: Mapping[str, Any]) -> TrainConfig:
        """Change settings, flat by name; raises ConfigError for what is no value, or a path out of bounds."""
        if "data_base_dir" in values:
            values = {**values, "data_base_dir": self.allowed(str(values["data_base_dir"]))}
        with self._lock:
            before, config = self._config, build_config(values, self._config)
            for name, value in config.layout.model_dump().items():
                if name.endswith("_subdir"):  # "/etc" or "../.." would lead out of the data folder
                    self.allowed(str(config.layout.data_base_dir / value))
            self._config = config
            if (before.layout, _read(before)) != (config.layout, _read(config)):
                self._forget()
            return config

    def report(self) -> CheckReport:
        """Return what the chosen data folder holds and what is wrong with it; opened once for each choice.

        One folder is opened at a time, and `opened` says how far it is: a second caller waits for the first. Whoever
        waits while other data are chosen gets the report on those.
        """
        while (report := self._report) is None:
            with self._opening, suppress(_ChosenAnewError):
                choice, config = self._choice, self._config
                if self._report is None:
                    try:
                        self._keep(choice, self.check(config, functools.partial(self._counted, choice)))
                    finally:
                        self._opened = None
        return report

    @property
    def opened(self) -> tuple[int, int] | None:
        """How many files of how many `report` has opened by now; None where it is not at work."""
        return self._opened

    @property
    def known_report(self) -> CheckReport | None:
        """The report if the files have been opened already; unlike `report`, never waits."""
        return self._report

    def forget_report(self) -> None:
        """Look at the data folder anew the next time, because its files changed."""
        with self._lock:
            self._forget()

    def index(self, config: TrainConfig) -> DataIndex:
        """Return what the names of the files of `config` tell; where one links out of the roots, only that error."""
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
        """Open the data of `config` and report; nothing is opened where a file links out of the roots."""
        from regstudio.data.check import check
        from regstudio.training.setup import check_data

        index = self.index(config)
        if not (index.atlas or index.train or index.validation):
            return check(index)
        return check_data(config, most=MAX_OPENED, most_validation=MAX_OPENED, progress=progress)

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

    def _forget(self) -> None:
        self._choice += 1
        self._report = None

    def _keep(self, choice: int, report: CheckReport) -> None:
        with self._lock:
            if choice == self._choice:
                self._report = report

    def _counted(self, choice: int, jobs: Sequence[Any]) -> Iterator[Any]:
        """Yield the jobs and keep count, until other data are chosen."""
        for done, job in enumerate(jobs):
            if choice != self._choice:
                raise _ChosenAnewError
            self._opened = done, len(jobs)
            yield job

    def _strays(self, index: DataIndex) -> Iterator[Path]:
        """Yield the files that lie outside the roots, links followed."""
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


def _read(config: TrainConfig) -> dict[str, Any]:
    return config.reading.model_dump(exclude=UNSEEN)
