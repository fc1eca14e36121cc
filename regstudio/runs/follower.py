"""Reading a run's events as they are written."""

import json
from collections.abc import Collection
from pathlib import Path

from regstudio.runs.events import RunStarted, TrainEvent, event_from_dict, progress


class Follower:
    """Reads a run's events as they are written, each line once.

    They make one course of training: what a killed run did after the state it was resumed from is left out, for it was
    done again. So is a line that a crash cut short. Lines of the kinds `without` are not even parsed.
    """

    def __init__(self, events_path: Path, *, without: Collection[type[TrainEvent]] = ()) -> None:
        self._path = events_path
        self._without = tuple(json.dumps({"event": kind.__name__})[:-1].encode() for kind in without)
        self._offset = 0
        self._events: list[TrainEvent] = []

    def update(self) -> list[TrainEvent]:
        """Read what was written since the last call; return all events so far."""
        if not self._path.exists():
            return self._events
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._offset += len(line)
                if not line.startswith(self._without):
                    self._take(line)
        return self._events

    def _take(self, line: bytes) -> None:
        try:
            event = event_from_dict(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return
        if isinstance(event, RunStarted):
            self._events = [earlier for earlier in self._events if progress(earlier) <= progress(event)]
        self._events.append(event)
