"""One run's events sorted into curves: each event is read once, and a page is told only what it has not seen."""

import math
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from regstudio.errors import RunError
from regstudio.runs.events import (
    EpochDone,
    ImageAligned,
    PairValidated,
    PreviewSaved,
    RunFinished,
    RunStarted,
    StepDone,
)
from regstudio.runs.follower import Follower
from regstudio.runs.run import Run

MAX_POINTS = 1000  # of a curve, in one answer
MAX_LINES = 200  # of the log
RECENT = 50  # steps over which the speed is taken

Answer = dict[str, Any]


class RunCurves:
    """One run's events sorted into curves, each event read and taken once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._follower = Follower(run.events_path)
        self._events: list[Any] | None = None
        self._log: list[str] = []
        self._log_offset = 0
        self._taken = 0
        try:
            weight = run.config().loss.ncc_weight
        except RunError:
            weight = 1.0
        self._floor = {"loss": -weight, "ncc": -1.0}  # the least a term can be, for a logarithmic axis

    def update(self) -> None:
        """Take in what the run did since the last call."""
        events = self._follower.update()
        if events is not self._events:  # a run that goes on takes back what it does again: the list is a new one
            self._events = events
            self._start_over()
        for event in events[self._taken :]:
            self._take(event)
        self._taken = len(events)
        self._read_log()

    def _start_over(self) -> None:
        self._version = secrets.token_hex(8)
        self._taken = 0
        self._x: list[int] = []
        self._terms: dict[str, list[float]] = {}
        self._seconds: list[float] = []
        self._epochs: list[Answer] = []
        self._previews: list[int] = []
        self._best: Answer | None = None
        self._started: RunStarted | None = None
        self._end: RunFinished | None = None
        self._place = {"epoch": 0, "step": 0, "pair": 0, "pairs": 0}
        self._aligning: Answer | None = None  # until the first step
        self._elapsed = self._before = 0.0

    def _take(self, event: Any) -> None:
        match event:
            case RunStarted():
                self._started, self._end = event, None
                self._place = {"epoch": event.epoch, "step": event.step, "pair": 0, "pairs": event.validation_cases}
                self._elapsed = self._before
                self._aligning = None
            case ImageAligned():
                self._aligning = {"number": event.number, "total": event.total}
            case StepDone():
                self._aligning = None
                self._x.append((event.epoch - 1) * (self._started.steps_per_epoch if self._started else 0) + event.step)
                for name, value in event.losses.items():
                    column = self._terms.setdefault(name, [math.nan] * (len(self._x) - 1))
                    column.append(math.nan if value is None else value)
                self._seconds.append(event.seconds)
                self._elapsed += event.seconds
                self._place |= {"epoch": event.epoch - 1, "step": event.step, "pair": 0}
            case PairValidated():
                self._place |= {"pair": event.number, "pairs": event.total}
            case EpochDone():
                self._epochs.append(
                    {"epoch": event.epoch, "losses": event.losses, "metrics": event.metrics, "seconds": event.seconds}
                )
                self._place |= {"epoch": event.epoch, "step": 0, "pair": 0}
                self._before += event.seconds
                self._elapsed = self._before
                if event.best:
                    self._best = {"epoch": event.epoch, "dice": event.metrics.get("dice")}
            case PreviewSaved():
                self._previews.append(event.epoch)
            case RunFinished():
                self._end = event

    def _read_log(self) -> None:
        if not self._run.log_path.exists():
            return
        with self._run.log_path.open("rb") as file:
            file.seek(self._log_offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self._log_offset += len(line)
                self._log.append(line.decode(errors="replace").rstrip())

    @property
    def device(self) -> str:
        """What the run trains on, as its events tell."""
        return self._started.device if self._started else ""

    @property
    def epochs_done(self) -> int:
        """The last whole epoch."""
        return self._place["epoch"]

    def state(self) -> tuple[str, str]:
        """Return how a run stands that is not this process's job, and its last message."""
        if self._end:
            return self._end.reason, self._end.message
        return ("running" if self._run.is_training() else "interrupted"), ""

    def news(self, asked: Mapping[Any, Any]) -> Answer:
        """Return what came after the counts in `asked`, and the counts to ask with the next time."""
        totals = {
            "steps": len(self._x),
            "epochs": len(self._epochs),
            "previews": len(self._previews),
            "log": len(self._log),
        }
        seen = {name: count(asked, name) for name in totals}
        reset = asked.get("version") != self._version or any(seen[name] > total for name, total in totals.items())
        if reset:
            seen = dict.fromkeys(totals, 0)
        return {
            "version": self._version,
            "reset": reset,
            "counts": totals,
            "steps": self._steps(seen["steps"]),
            "epochs": self._epochs[seen["epochs"] :],
            "previews": self._previews[seen["previews"] :],
            "log": self._log[seen["log"] :][-MAX_LINES:],
        }

    def _steps(self, first: int) -> Answer:
        columns = {name: column[first:] for name, column in self._terms.items()}
        values = np.array(list(columns.values()), dtype=float)
        chosen = thinned(values, MAX_POINTS) if values.size else []
        return {
            "x": [self._x[first + place] for place in chosen],
            "terms": {name: [_number(column[place]) for place in chosen] for name, column in columns.items()},
        }

    def standing(self, active: bool) -> Answer:
        """Return how far the run is, how fast it goes and how long it will take."""
        started, place = self._started, self._place
        steps, epochs = (started.steps_per_epoch, started.epochs) if started else (0, 0)
        recent = self._seconds[-RECENT:]
        step = sum(recent) / len(recent) if recent else None
        left = None
        if active and step and started:
            # An epoch takes longer than its steps: it validates and saves.
            epoch = self._epochs[-1]["seconds"] if self._epochs else step * steps
            left = max(0.0, (epochs - place["epoch"]) * epoch - place["step"] * step)
        return {
            "progress": {**place, "steps": steps, "epochs": epochs},
            "aligning": self._aligning,
            "steps_per_second": 1 / step if step and active else None,
            "seconds_left": left,
            "seconds": self._elapsed,
            "device": self.device,
            "best": self._best,
            "floor": self._floor,
        }


def thinned(columns: npt.NDArray[np.float64], most: int) -> list[int]:
    """Return about `most` places of `columns` (terms, n), in order, that hold every term's extremes of each bin."""
    terms, total = columns.shape
    if total <= most:
        return list(range(total))
    size = math.ceil(total * 2 * terms / most)
    bins = math.ceil(total / size)
    padding = ((0, 0), (0, bins * size - total))
    chosen = [np.array([0, total - 1])]
    for sign in (1.0, -1.0):
        filled = np.where(np.isnan(columns), np.inf, sign * columns)
        lowest = np.pad(filled, padding, constant_values=np.inf).reshape(terms, bins, size).argmin(axis=2)
        chosen.append((lowest + size * np.arange(bins)).ravel())
    places: list[int] = np.unique(np.concatenate(chosen)).tolist()
    return [place for place in places if place < total]


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None  # JSON has no NaN


def count(asked: Mapping[Any, Any], name: str) -> int:
    """Return the whole number from 0 on that `asked` holds under `name`; 0 where it holds none."""
    value = asked.get(name)
    return value if isinstance(value, int) and value >= 0 else 0
