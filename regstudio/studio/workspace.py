"""What belongs to one browser tab: its data folder, its settings, and the report on the data."""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from regstudio.config import TrainConfig, build_config, settings
from regstudio.data.checking.report import CheckReport
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import DataError

NO_EFFECT_ON_PIXELS = {"cache_gb", "disk_cache_gb", "num_workers"}  # settings of reading

Progress = Callable[[Sequence[Any]], Iterable[Any]]


class _DataChangedError(Exception):
    """Other data were chosen while the data were being opened."""


class Reader(Protocol):
    """What a workspace asks of its studio."""

    @property
    def demo_dir(self) -> Path:
        """The folder of the demo data."""

    def allowed(self, path: str) -> Path:
        """Return the path, resolved; raises ConfigError where the page may not read."""

    def index(self, config: TrainConfig) -> DataIndex:
        """Index the data of `config` by file names."""

    def check(self, config: TrainConfig, progress: Progress) -> CheckReport:
        """Open the data of `config` and return the report."""


class Workspace:
    """One browser tab's data and settings; thread-safe, as a tab's requests are answered in parallel."""

    def __init__(self, studio: Reader, config: TrainConfig, report: CheckReport | None = None) -> None:
        self._studio = studio
        self._config = config
        self._report = report
        self._lock = threading.Lock()
        self._data_version = 0  # grows with every change of the data: a report on older data is not kept
        self._opening_lock = threading.Lock()
        self._opened: tuple[int, int] | None = None

    def copy(self) -> "Workspace":
        """Return a workspace of its own with the same data and settings."""
        with self._lock:
            return Workspace(self._studio, self._config, self._report)

    @property
    def config(self) -> TrainConfig:
        """The current settings, with the chosen data."""
        return self._config

    @property
    def shows_demo(self) -> bool:
        """Whether the chosen data are the demo data."""
        return self._config.layout.data_base_dir.resolve() == self._studio.demo_dir.resolve()

    def change_settings(self, values: Mapping[str, Any]) -> TrainConfig:
        """Change settings, flat by name; raises ConfigError for a bad value or a path out of bounds."""
        allowed = self._studio.allowed
        if "data_base_dir" in values:
            values = {**values, "data_base_dir": allowed(str(values["data_base_dir"]))}
        with self._lock:
            previous, config = self._config, build_config(values, self._config)
            for name, value in config.layout.model_dump().items():
                if name.endswith("_subdir"):  # "/etc" or "../.." would lead out of the data folder
                    allowed(str(config.layout.data_base_dir / value))
            self._config = config
            if (previous.layout, _reading(previous)) != (config.layout, _reading(config)):
                self._forget()
            return config

    def choose_data(self, folder: str, values: Mapping[str, Any]) -> Path:
        """Choose a data folder, with values of settings of the layout and of reading, and return its path.

        Raises ConfigError if it, or a name in it, leads out of the roots, and DataError if there is no such folder.
        """
        base = self._studio.allowed(folder)
        if not base.is_dir():
            raise DataError(f"{base}: there is no such folder. Choose another, or upload one.")
        for setting in settings("layout"):
            if not setting.resumable and setting.name not in ("data_base_dir", "leave_out"):
                self._studio.allowed(str(base / str(values.get(setting.name, ""))))
        if base != self._config.layout.data_base_dir.resolve():
            values = {**values, "leave_out": ""}  # which names files of the folder before
        self.change_settings({**values, "data_base_dir": base})
        self.forget_report()
        return base

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
                        self._keep(version, self._studio.check(config, functools.partial(self._counted, version)))
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

    def index(self) -> DataIndex:
        """Index the chosen data by file names."""
        return self._studio.index(self._config)

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


def _reading(config: TrainConfig) -> dict[str, Any]:
    return config.reading.model_dump(exclude=NO_EFFECT_ON_PIXELS)
