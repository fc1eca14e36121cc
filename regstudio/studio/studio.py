"""The studio: what all pages share. The one training, the runs, and which paths the page may read.

Functions that need torch import it when they run, so that the first page does not wait for it.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cachetools

from regstudio.config import TrainConfig, build_config
from regstudio.data.checking.report import CheckReport
from regstudio.data.folders.layout import DataIndex, Layout, index_folder
from regstudio.data.pictures.decoder import read_apart
from regstudio.data.problems import Problem, is_unicode
from regstudio.errors import ConfigError, RunError
from regstudio.runs.catalogue import RunCatalogue, RunSummary
from regstudio.runs.events import TrainEvent
from regstudio.runs.run import Run, open_run, runs_in
from regstudio.schema import shortened
from regstudio.studio.workspace import Workspace
from regstudio.temporary import remove_leftovers

if TYPE_CHECKING:
    from regstudio.registering.job import RegisterJob
    from regstudio.training.job import TrainJob

UPLOADS = "data_uploads"  # the folder of uploaded data sets, below the first root
MAX_NAME = 256  # letters of a run's
MAX_OPENED = 1000  # images of either set
MAX_TABS = 200  # of browsers, whose workspaces are kept
_TAB = re.compile(r"[\w-]{1,64}")


class Studio:
    """One process, one training, one folder of runs; each browser tab has a `workspace` with data of its own.

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
        self._register_job: RegisterJob | None = None
        self._first = Workspace(self, build_config({"data_base_dir": data_base_dir, "runs_dir": self.runs_dir}))
        self._workspaces: cachetools.LRUCache[str, Workspace] = cachetools.LRUCache(MAX_TABS)

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

    @property
    def register_job(self) -> "RegisterJob":
        """The one registering of many files in this process."""
        from regstudio.registering.job import RegisterJob

        with self._lock:
            if self._register_job is None:
                self._register_job = RegisterJob()
            return self._register_job

    @property
    def known_register_job(self) -> "RegisterJob | None":
        """The registering if `register_job` was used before; never waits for torch."""
        return self._register_job

    def shared(self, names: Iterable[str]) -> "Studio":
        """Return a read-only studio that knows only the runs of these names; raises RunError where one is missing."""
        shown = frozenset(self.run(name).path.name for name in names)
        return Studio(
            runs_dir=self.runs_dir,
            roots=(),
            demo_dir=self.demo_dir,
            data_base_dir=self._first.config.layout.data_base_dir,
            shown=shown,
        )

    def workspace(self, tab: object = None) -> Workspace:
        """Return the workspace of the browser tab that calls itself `tab`; by default the one that new tabs start from.

        Raises ConfigError for what is no name of a tab.
        """
        if tab is None:
            return self._first
        if not isinstance(tab, str) or not _TAB.fullmatch(tab):
            raise ConfigError("The page is older than the program. Reload it.")
        with self._lock:
            if tab not in self._workspaces:
                self._workspaces[tab] = self._first.copy()
            return self._workspaces[tab]

    def ensure_demo(self) -> Path:
        """Make the demo data if they are missing, and return their folder."""
        if not (self.demo_dir / "fixed").is_dir():
            from regstudio.data.phantom import make_demo

            make_demo(self.demo_dir)
        return self.demo_dir

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
        from regstudio.data.checking.check import check
        from regstudio.training.setup import check_data

        index = self.index(config)
        if not (index.atlas or index.train or index.validation):
            return check(index)
        return check_data(config, most=MAX_OPENED, most_validation=MAX_OPENED, progress=progress)

    def allowed(self, path: str) -> Path:
        """Return the path, resolved; raises ConfigError unless it lies below a root once links are resolved."""
        try:
            resolved = Path(path.strip()).expanduser().resolve()
            resolved.exists()  # raises the error that everything else would
        except OSError as error:  # a loop of links, a name that is too long, no permission
            raise ConfigError(f"{path}: cannot be opened ({error.strerror}).") from None
        except (ValueError, RuntimeError) as error:  # a null byte, no such home
            raise ConfigError(f"{path!r} is not a path ({error}).") from None
        if not any(resolved.is_relative_to(root) for root in self.roots):
            places = ", ".join(map(str, self.roots))
            raise ConfigError(f"{resolved}: may not be opened from the page, only what lies below {places}.")
        return resolved

    def run(self, name: str) -> Run:
        """Return the run of that name in the runs folder; raises RunError if there is none."""
        try:
            path = (self.runs_dir / name).resolve() if len(name) < MAX_NAME else Path()
        except (OSError, ValueError, RuntimeError):  # a name that no folder can have, or a link to itself
            path = Path()
        hidden = self.shown is not None and path.name not in self.shown
        if not name or path.parent != self.runs_dir or hidden or not is_unicode(name):
            raise RunError(f"{shortened(name)} is not the name of a run in {self.runs_dir}.")
        return open_run(path)

    def run_folders(self) -> list[Run]:
        """Return the runs that `run` opens, the newest first, without reading what they hold."""
        shown = [run for run in runs_in(self.runs_dir) if self.shown is None or run.path.name in self.shown]
        runs = [run for run in shown if self._lies_here(run.path) and run.holds(run.config_path)]
        return sorted(runs, key=lambda run: run.config_path.stat().st_mtime, reverse=True)

    def _lies_here(self, folder: Path) -> bool:
        try:
            return is_unicode(folder) and folder.resolve().parent == self.runs_dir
        except (OSError, RuntimeError):  # a link to itself
            return False

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
        for run in runs_in(self.runs_dir):
            if not run.is_training() and run.config_path.is_file():
                run.remove_leftovers()
        for root in self.roots:
            remove_leftovers(root / UPLOADS)

    def _strays(self, index: DataIndex) -> Iterator[Path]:
        """Yield the files that lie outside the roots once links are resolved."""
        inside: dict[Path, bool] = {}
        for path in index.files:
            folder = path.parent
            if folder not in inside:
                inside[folder] = self.is_inside(folder)
            if not inside[folder] or (path.is_symlink() and not self.is_inside(path)):
                yield path

    def is_inside(self, path: Path) -> bool:
        """Return whether the page may read a path, once links are resolved."""
        try:
            self.allowed(str(path))
        except ConfigError:
            return False
        return True
