"""Curves, progress and log of a run for the page; each event is read once, and each request gets only what is new."""

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

MAX_POINTS = 1000  # of a curve in one answer
MAX_LINES = 200  # of the log in one answer
RECENT_STEPS = 50  # the speed is averaged over these

Answer = dict[str, Any]


class RunCurves:
    """Collects the events of one run into curves, progress and log; `update` reads only new events."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._follower = Follower(run.events_path)
        self._events: list[Any] | None = None
        self._log: list[str] = []
        self._log_offset = 0
        self._processed = 0
        try:
            weight = run.config().loss.ncc_weight
        except RunError:
            weight = 1.0
        self._floor = {"loss": -weight, "ncc": -1.0}  # lower bounds of the terms, for a logarithmic axis

    def update(self) -> None:
        """Read the events and log lines written since the last call."""
        events = self._follower.update()
        if events is not self._events:  # a resume drops repeated events, which makes a new list
            self._events = events
            self._reset()
        for event in events[self._processed :]:
            self._take(event)
        self._processed = len(events)
        self._read_log()

    def _reset(self) -> None:
        self._version = secrets.token_hex(8)
        self._processed = 0
        self._step_numbers: list[int] = []
        self._losses: dict[str, list[float]] = {}
        self._seconds: list[float] = []
        self._epochs: list[Answer] = []
        self._previews: list[int] = []
        self._best: Answer | None = None
        self._started: RunStarted | None = None
        self._end: RunFinished | None = None
        self._progress = {"epoch": 0, "step": 0, "pair": 0, "pairs": 0}
        self._aligning: Answer | None = None  # until the first step
        self._elapsed = self._elapsed_before_epoch = 0.0

    def _take(self, event: Any) -> None:
        match event:
            case RunStarted():
                self._started, self._end = event, None
                self._progress = {"epoch": event.epoch, "step": event.step, "pair": 0, "pairs": event.validation_cases}
                self._elapsed = self._elapsed_before_epoch
                self._aligning = None
            case ImageAligned():
                self._aligning = {"number": event.number, "total": event.total}
            case StepDone():
                self._aligning = None
                self._step_numbers.append(
                    (event.epoch - 1) * (self._started.steps_per_epoch if self._started else 0) + event.step
                )
                for name, value in event.losses.items():
                    column = self._losses.setdefault(name, [math.nan] * (len(self._step_numbers) - 1))
                    column.append(math.nan if value is None else value)
                self._seconds.append(event.seconds)
                self._elapsed += event.seconds
                self._progress |= {"epoch": event.epoch - 1, "step": event.step, "pair": 0}
            case PairValidated():
                self._progress |= {"pair": event.number, "pairs": event.total}
            case EpochDone():
                self._epochs.append(
                    {"epoch": event.epoch, "losses": event.losses, "metrics": event.metrics, "seconds": event.seconds}
                )
                self._progress |= {"epoch": event.epoch, "step": 0, "pair": 0}
                self._elapsed_before_epoch += event.seconds
                self._elapsed = self._elapsed_before_epoch
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
        """The device that the run trains on; empty before it starts."""
        return self._started.device if self._started else ""

    @property
    def epochs_done(self) -> int:
        """The number of finished epochs."""
        return self._progress["epoch"]

    def state(self) -> tuple[str, str]:
        """Return the state of the run from its record alone (for a run of another process), and its last message."""
        if self._end:
            return self._end.reason, self._end.message
        return ("running" if self._run.is_training() else "interrupted"), ""

    def updates(self, asked: Mapping[Any, Any]) -> Answer:
        """Return everything after the counts in `asked`, and the counts to send with the next request."""
        totals = {
            "steps": len(self._step_numbers),
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
        """Return the loss curves from step `first` on, thinned to MAX_POINTS."""
        columns = {name: column[first:] for name, column in self._losses.items()}
        values = np.array(list(columns.values()), dtype=float)
        indices = thinned(values, MAX_POINTS) if values.size else []
        return {
            "x": [self._step_numbers[first + index] for index in indices],
            "terms": {name: [_number(column[index]) for index in indices] for name, column in columns.items()},
        }

    def status(self, active: bool) -> Answer:
        """Return progress, speed and remaining time in seconds; speed and time only for an `active` run."""
        started, progress = self._started, self._progress
        steps, epochs = (started.steps_per_epoch, started.epochs) if started else (0, 0)
        recent = self._seconds[-RECENT_STEPS:]
        step = sum(recent) / len(recent) if recent else None
        left = None
        if active and step and started:
            # An epoch takes longer than its steps, due to validation and saving.
            epoch = self._epochs[-1]["seconds"] if self._epochs else step * steps
            left = max(0.0, (epochs - progress["epoch"]) * epoch - progress["step"] * step)
        return {
            "progress": {**progress, "steps": steps, "epochs": epochs},
            "aligning": self._aligning,
            "steps_per_second": 1 / step if step and active else None,
            "seconds_left": left,
            "seconds": self._elapsed,
            "device": self.device,
            "best": self._best,
            "floor": self._floor,
        }


def thinned(columns: npt.NDArray[np.float64], max_points: int) -> list[int]:
    """Return about `max_points` sorted indices of `columns` (terms, n) with the extremes of each term and bin."""
    terms, total = columns.shape
    if total <= max_points:
        return list(range(total))
    bin_size = math.ceil(total * 2 * terms / max_points)
    bins = math.ceil(total / bin_size)
    padding = ((0, 0), (0, bins * bin_size - total))
    selected = [np.array([0, total - 1])]
    for sign in (1.0, -1.0):
        filled = np.where(np.isnan(columns), np.inf, sign * columns)
        minima = np.pad(filled, padding, constant_values=np.inf).reshape(terms, bins, bin_size).argmin(axis=2)
        selected.append((minima + bin_size * np.arange(bins)).ravel())
    indices: list[int] = np.unique(np.concatenate(selected)).tolist()
    return [index for index in indices if index < total]


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None  # JSON has no NaN


def count(asked: Mapping[Any, Any], name: str) -> int:
    """Return the non-negative integer under `name` in a request from the page; 0 for anything else."""
    value = asked.get(name)
    return value if isinstance(value, int) and value >= 0 else 0
