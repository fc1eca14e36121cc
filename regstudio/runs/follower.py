"""Reads a run's events while they are being written, each line once."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path

from regstudio.files import is_within
from regstudio.runs.events import RunStarted, TrainEvent, event_from_dict, training_position

BLOCK_BYTES = 2**18  # read, and parsed, at once: other threads wait for no longer than that takes


class LineReader:
    """Reads the lines of a file that grows, incrementally; where it links out of `folder`, there are none."""

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self._path, self._folder = path, folder or path.parent
        self._offset = 0

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the whole lines written since the last call, without their ends, in blocks."""
        if not is_within(self._path, self._folder):
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while block := file.read(BLOCK_BYTES):
                end = block.rfind(b"\n") + 1
                if not end and len(block) < BLOCK_BYTES:
                    return  # still being written
                end = end or len(block)  # no line of ours is that long: it comes in pieces, which nobody can parse
                self._offset += end
                file.seek(self._offset)
                yield block[:end].removesuffix(b"\n").split(b"\n")


class Follower:
    """Reads a run's events incrementally, and keeps them.

    The events form one consistent training: if a run was killed and resumed, the events after the resumed checkpoint
    are dropped, as those steps were repeated. Damaged lines are skipped. Events of the types `without` are skipped
    before they are parsed.
    """

    def __init__(self, events_path: Path, *, without: Collection[type[TrainEvent]] = ()) -> None:
        self._lines = LineReader(events_path)
        self._skipped_prefixes = tuple(json.dumps({"event": kind.__name__})[:-1].encode() for kind in without)
        self._events: list[TrainEvent] = []

    def update(self) -> list[TrainEvent]:
        """Read the lines written since the last call; return all events so far."""
        for lines in self._lines.blocks():
            for line in lines:
                event = None if line.startswith(self._skipped_prefixes) else parse_event(line)
                if event is not None:
                    self._add(event)
        return self._events

    def _add(self, event: TrainEvent) -> None:
        if isinstance(event, RunStarted):
            self._events = [
                earlier for earlier in self._events if training_position(earlier) <= training_position(event)
            ]
        self._events.append(event)


def parse_event(line: bytes) -> TrainEvent | None:
    """Return the event of a line of events.jsonl; None for a damaged line."""
    try:
        return event_from_dict(json.loads(line))
    except (ValueError, RecursionError):
        return None
