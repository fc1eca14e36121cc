"""Curves, progress and log of a run for the page; each line is read once, and each request gets only what is new."""

import math
import secrets
import threading
from collections.abc import Mapping, Sequence
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
    TrainEvent,
    event_to_dict,
)
from regstudio.runs.follower import LineReader, parse_event
from regstudio.runs.run import Run
from regstudio.runs.step_columns import StepColumns
from regstudio.runs.time_left import Speeds, seconds_left, seconds_per_step

MAX_POINTS = 1000  # of a curve in one answer
MAX_COUNT = 10**9  # that a page may ask for
MAX_LINES = 200  # of the log in one answer
# The least values of the terms that may be negative. Mutual information tells 32 grey values apart: log(32) nats.
FLOORS = {"ncc": -1.0, "global_ncc": -1.0, "mi": -3.47}
# How lines begin, as `Run.append` writes them: those of steps, and those of which only the last one counts.
STEP_DONE = b'{"event": "StepDone"'
PROGRESS = (b'{"event": "PairValidated"', b'{"event": "ImageAligned"')

Answer = dict[str, Any]


class RunCurves:
    """Collects the events of one run into curves, progress and log; `update` reads only new events.

    Threads that share it hold its `lock` while they use it.
    """

    def __init__(self, run: Run) -> None:
        self.lock = threading.Lock()
        self._run = run
        self._lines, self._log_lines = LineReader(run.events_path), LineReader(run.log_path, run.path)
        self._log: list[str] = []
        self._version = secrets.token_hex(8)
        self._columns = StepColumns()
        self._epochs: list[Answer] = []
        self._previews: list[int] = []
        self._started: RunStarted | None = None
        self._end: RunFinished | None = None
        self._progress = {"epoch": 0, "step": 0, "pair": 0, "pairs": 0}
        self._aligning: Answer | None = None  # until the first step
        self._repeated_seconds = 0.0  # of what was done again after a resume: it was trained, too
        self._floor = _floors(run)

    def update(self) -> None:
        """Read the events and log lines written since the last call."""
        for lines in self._lines.blocks():
            first = 0
            for other in [place for place, line in enumerate(lines) if not line.startswith(STEP_DONE)]:
                self._take_steps(lines[first:other])
                followed = lines[other : other + 2]
                if len(followed) < 2 or not all(line.startswith(PROGRESS) for line in followed):
                    self._take_line(lines[other])
                first = other + 1
            self._take_steps(lines[first:])
        for lines in self._log_lines.blocks():
            self._log += (line.decode(errors="replace").rstrip() for line in lines)

    def _take_steps(self, lines: Sequence[bytes]) -> None:
        if lines and self._columns.add_lines(lines):
            self._note_step()

    def _take_line(self, line: bytes) -> None:
        event = parse_event(line)
        if event is not None:
            self._take(event)

    def _take(self, event: TrainEvent) -> None:
        match event:
            case RunStarted():
                self._start(event)
            case ImageAligned():
                self._aligning = {"number": event.number, "total": event.total}
            case StepDone():
                if self._columns.add([event_to_dict(event)]):
                    self._note_step()
            case PairValidated():
                self._progress |= {"pair": event.number, "pairs": event.total}
            case EpochDone():
                self._take_epoch(event)
            case PreviewSaved():
                self._previews.append(event.epoch)
            case RunFinished():
                self._end = event

    def _start(self, event: RunStarted) -> None:
        """Begin, or go on: drop what was done after the checkpoint that a resume started from, as it is repeated."""
        if self._started is not None:
            before = self._seconds()
            self._columns.truncate(event.epoch, event.step)
            self._epochs = [epoch for epoch in self._epochs if epoch["epoch"] <= event.epoch]
            self._previews = [epoch for epoch in self._previews if epoch <= event.epoch]
            self._progress["epoch"] = event.epoch
            self._repeated_seconds += before - self._seconds()
            self._version = secrets.token_hex(8)
        self._started, self._end, self._aligning = event, None, None
        self._progress = {"epoch": event.epoch, "step": event.step, "pair": 0, "pairs": event.validation_cases}

    def _note_step(self) -> None:
        epoch, step = (int(self._columns.number(name)[-1]) for name in ("epoch", "step"))
        self._aligning = None
        self._progress |= {"epoch": epoch - 1, "step": step, "pair": 0}

    def _take_epoch(self, event: EpochDone) -> None:
        fields = ("epoch", "losses", "metrics", "seconds", "best", "scale")
        steps = float(self._columns.number("seconds")[self._first_step(event.epoch) :].sum())
        # An epoch takes longer than its steps, due to validation.
        extra = max(0.0, event.seconds - steps) if steps else 0.0
        self._epochs.append({name: getattr(event, name) for name in fields} | {"extra_seconds": extra})
        self._progress |= {"epoch": event.epoch, "step": 0, "pair": 0}

    def _first_step(self, epoch: int) -> int:
        """Return the place of the first step of an epoch, counted from 1."""
        return int(np.searchsorted(self._columns.number("epoch"), epoch))

    def _seconds(self) -> float:
        """Return the seconds of the whole epochs and of the steps since then."""
        under_way = self._columns.number("seconds")[self._first_step(self._progress["epoch"] + 1) :]
        whole = sum(float(epoch["seconds"]) for epoch in self._epochs)
        return whole + float(under_way.sum())

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
            "steps": self._columns.count,
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
        columns = self._columns.terms(first)
        values = np.array(list(columns.values()), dtype=float)
        places = thinned(values, MAX_POINTS) if values.size else []
        epoch, step, scale = (self._columns.number(name)[first:][places] for name in ("epoch", "step", "scale"))
        seconds = self._columns.number("seconds")
        times = float(seconds[:first].sum()) + np.cumsum(seconds[first:])[places]
        numbers = (epoch - 1) * (self._started.steps_per_epoch if self._started else 0) + step
        return {
            "x": numbers.astype(int).tolist(),
            "seconds": [round(value, 2) for value in times.tolist()],
            "scale": scale.astype(int).tolist(),
            "terms": {name: [_number(value) for value in column[places]] for name, column in columns.items()},
        }

    def status(self, active: bool, measured: Speeds | None = None) -> Answer:
        """Return progress, speed and remaining time in seconds; speed and time only for an `active` run.

        `measured` are the speeds of such a run that were measured before, if they were.
        """
        started, progress = self._started, self._progress
        steps, epochs = (started.steps_per_epoch, started.epochs) if started else (0, 0)
        seconds, left = None, None
        if active and started and self._columns.count:
            speeds = seconds_per_step(self._columns.number("scale"), self._columns.number("seconds"))
            seconds = speeds[int(self._columns.number("scale")[-1])]
            extras = [epoch["extra_seconds"] for epoch in self._epochs]
            left = seconds_left(started, progress, speeds, extras, measured)
        best = next((epoch for epoch in reversed(self._epochs) if epoch["best"]), None)
        return {
            "progress": {**progress, "steps": steps, "epochs": epochs},
            "aligning": self._aligning,
            "steps_per_second": 1 / seconds if seconds else None,
            "seconds_left": left,
            "seconds": self._seconds() + self._repeated_seconds,
            "device": self.device,
            "best": best and {"epoch": best["epoch"], **{name: best["metrics"].get(name) for name in ("dice", "tre")}},
            "floor": self._floor,
        }


def _floors(run: Run) -> dict[str, float]:
    """Return the least value of each term that may be negative, and of their weighted sum, for a logarithmic axis."""
    try:
        loss = run.config().loss
    except RunError:
        return FLOORS
    return {"loss": round(sum(floor * getattr(loss, f"{name}_weight") for name, floor in FLOORS.items()), 6), **FLOORS}


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
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else 0
