"""Follower: reads a run's events while they are being written."""

import json
from collections.abc import Collection
from pathlib import Path

from regstudio.runs.events import RunStarted, TrainEvent, event_from_dict, training_position


class Follower:
    """Reads a run's events incrementally, each line once.

    The events form one consistent training: if a run was killed and resumed, the events after the resumed checkpoint
    are dropped, as those steps were repeated. Damaged lines are skipped. Events of the types `without` are skipped
    before they are parsed.
    """

    def __init__(self, events_path: Path, *, without: Collection[type[TrainEvent]] = ()) -> None:
        self._path = events_path
        self._skipped_prefixes = tuple(json.dumps({"event": kind.__name__})[:-1].encode() for kind in without)
        self._offset = 0
        self._events: list[TrainEvent] = []

    def update(self) -> list[TrainEvent]:
        """Read the lines written since the last call; return all events so far."""
        if not self._path.exists():
            return self._events
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._offset += len(line)
                if not line.startswith(self._skipped_prefixes):
                    self._add(line)
        return self._events

    def _add(self, line: bytes) -> None:
        try:
            event = event_from_dict(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return
        if isinstance(event, RunStarted):
            self._events = [
                earlier for earlier in self._events if training_position(earlier) <= training_position(event)
            ]
        self._events.append(event)
