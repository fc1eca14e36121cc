"""The runs of a folder, each read again only when it changed: a page that looks every few seconds must not wait."""

import threading
from pathlib import Path

from regstudio.errors import RunError
from regstudio.runs.catalogue import RunSummary, summarise_run
from regstudio.runs.run import Run

Stamp = tuple[int, int, int, bool]


class RunList:
    """Summaries of the runs in one folder. May be asked from any thread."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[Stamp, RunSummary | None]] = {}

    def summaries(self) -> list[RunSummary]:
        """Return a summary of every run, the newest first; folders that are no runs are passed over."""
        with self._lock:
            stamps = self._stamps()
            self._known = {
                path: self._known[path]
                if path in self._known and self._known[path][0] == stamp
                else (stamp, _summarised(Run(path)))
                for path, stamp in sorted(stamps.items(), key=lambda item: item[1], reverse=True)
            }
            return [summary for _, summary in self._known.values() if summary is not None]

    def _stamps(self) -> dict[Path, Stamp]:
        if not self._runs_dir.is_dir():
            return {}
        stamps = {}
        for path in self._runs_dir.iterdir():
            run = Run(path)
            try:
                created = run.config_path.stat().st_mtime_ns
                events = run.events_path.stat() if run.events_path.exists() else None
            except OSError:  # no run, or one that is being renamed or deleted just now
                continue
            stamps[path] = (
                created,
                events.st_mtime_ns if events else 0,
                events.st_size if events else 0,
                run.is_training(),
            )
        return stamps


def _summarised(run: Run) -> RunSummary | None:
    try:
        return summarise_run(run)
    except (RunError, OSError):
        return None
