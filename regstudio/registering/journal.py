"""Journal of a folder of results, so that a stopped job can resume.

RESULTS/registered.jsonl has one JSON object a line for each finished case: a digest of everything its results depend
on, its files with their sizes, and its metrics. The line is appended after the files are written. A case is complete if
its line has the current digest and its files exist with the recorded sizes.
"""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from regstudio.data.problems import FileError
from regstudio.files import append, file_digest, write_text
from regstudio.schema import Count, FileName, Measure, Name, SchemaError, Seconds, parse, read_lines

NAME = "registered.jsonl"
_RESULTS_VERSION = "2"  # raise it when the same inputs give different files


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One finished case: `files` maps the names of its files to their sizes in bytes."""

    id: Name
    digest: Name
    files: dict[FileName, Count]
    metrics: dict[Name, Measure]
    seconds: Seconds | None


_ENTRY = TypeAdapter(Entry)


class Journal:
    """The journal of the folder `out` in the file `name`; thread-safe. `fresh` discards existing entries.

    Only one of several processes may have `writes` set.
    """

    def __init__(self, out: Path, *, fresh: bool = False, writes: bool = True, name: str = NAME) -> None:
        self._path, self._writes = out / name, writes
        self._lock = threading.Lock()
        self._entries = {} if fresh else {entry.id: entry for entry in read_entries(self._path)}
        if writes:  # rewrite it without the incomplete line that a crash may have left
            write_text(self._path, "".join(_line(entry) for entry in self._entries.values()))

    def find(self, case: str, digest: str) -> Entry | None:
        """Return the entry of a case if its digest matches and its files are complete; otherwise None."""
        entry = self._entries.get(case)
        if entry is None or entry.digest != digest:
            return None
        folder = self._path.parent
        sizes = {name: path.stat().st_size for name in entry.files if (path := folder / name).is_file()}
        return entry if sizes == entry.files else None

    def add(self, case: str, digest: str, files: Sequence[Path], metrics: Mapping[str, float], seconds: float) -> None:
        """Append the entry of a case whose files are written."""
        if not self._writes:
            return
        sizes = {path.name: path.stat().st_size for path in files}
        entry = Entry(id=case, digest=digest, files=sizes, metrics=dict(metrics), seconds=seconds)
        with self._lock:
            append(self._path, _line(entry).encode())
            self._entries[case] = entry


def refuse_folder_of_inputs(out: Path, inputs: Iterable[Path]) -> None:
    """Raise FileError if any of the files to read lies in the folder of the results itself."""
    if out.resolve() in {folder.resolve() for folder in {path.parent for path in inputs}}:
        raise FileError(out, "holds files to read, among which the results would be lost", "Choose another --out.")


def digest_of(recipe: str, files: Sequence[Path | None]) -> str:
    """Return a digest of a recipe and the names and contents of files; None stands for an optional file."""
    parts = [_RESULTS_VERSION, recipe]
    for path in files:
        parts += ["-"] if path is None else [path.name, file_digest(path)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a journal, none where there is no such file; what cannot be read is left out."""
    entries = []
    with suppress(SchemaError):  # there is none, or nothing that can be read
        for line in read_lines(path):
            with suppress(SchemaError):  # incomplete, or of another version: register the case again
                entries.append(parse(line, _ENTRY))
    return entries
