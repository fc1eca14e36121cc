"""What a folder of results holds already, so that a long job takes up where it stopped.

RESULTS/registered.jsonl has one JSON object a line: a case that is wholly written, a digest of all that its results
depend on, its files with their sizes, and its metrics. A line is added after the files are in place. So a case is
complete when its line carries the digest that it would have now and its files are there, as large as they were written.
"""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from regstudio.files import write_text

NAME = "registered.jsonl"
_RESULTS_VERSION = "1"  # to be raised when the same inputs come to give other files


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One complete case: `files` maps the names of what was written to their sizes in bytes."""

    id: str
    digest: str
    files: dict[str, int]
    metrics: dict[str, float]
    seconds: float | None


class Journal:
    """The journal of the folder `out`, read when it is made; `fresh` forgets what is there. Safe between threads.

    Of several processes one alone `writes` it.
    """

    def __init__(self, out: Path, *, fresh: bool = False, writes: bool = True) -> None:
        self._path, self._writes = out / NAME, writes
        self._lock = threading.Lock()
        self._entries = {} if fresh else {entry.id: entry for entry in _read(self._path)}
        if writes:  # anew, so that the next line does not go on from half of one that a crash left
            write_text(self._path, "".join(_line(entry) for entry in self._entries.values()))

    def find(self, case: str, digest: str) -> Entry | None:
        """Return the case's entry if it is complete and unchanged."""
        entry = self._entries.get(case)
        if entry is None or entry.digest != digest:
            return None
        folder = self._path.parent
        sizes = {name: path.stat().st_size for name in entry.files if (path := folder / name).is_file()}
        return entry if sizes == entry.files else None

    def add(self, case: str, digest: str, files: Sequence[Path], metrics: Mapping[str, float], seconds: float) -> None:
        """Note a case whose files are in place."""
        if not self._writes:
            return
        sizes = {path.name: path.stat().st_size for path in files}
        entry = Entry(id=case, digest=digest, files=sizes, metrics=dict(metrics), seconds=seconds)
        with self._lock, self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line(entry))
            self._entries[case] = entry


def digest_of(recipe: str, files: Sequence[Path | None]) -> str:
    """Return a digest of a recipe and of the content and the names of files, None for one that is not there."""
    parts = [_RESULTS_VERSION, recipe]
    for path in files:
        parts += ["-"] if path is None else [path.name, file_digest(path)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    status = path.stat()
    return _content_digest(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)  # the fixed image is asked for with every case
def _content_digest(path: Path, size: int, mtime: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _read(path: Path) -> list[Entry]:
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):  # half a line, or one of a version that noted other things: done again
            continue
    return entries
