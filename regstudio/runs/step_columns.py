"""The steps of a run as columns of numbers: a fraction of the memory and the time of an event for each step."""

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

MAX_TERMS = 64  # of the loss; a record with more names is none of ours
MAX_NUMBER = 10**9  # of an epoch, a step and its seconds
NUMBERS = ("scale", "epoch", "step", "seconds")
SCALES = (1, 2, 4, 8)

Column = npt.NDArray[np.float64]


class StepColumns:
    """Growing columns of the steps: `NUMBERS` by name, and the terms of the loss; NaN where a step has no such term."""

    def __init__(self) -> None:
        self.count = 0
        self._numbers: dict[str, Column] = {}
        self._terms: dict[str, Column] = {}

    def number(self, name: str) -> Column:
        """Return one of the columns `NUMBERS`, (n,)."""
        return self._numbers[name][: self.count] if name in self._numbers else np.empty(0)

    def terms(self, first: int = 0) -> dict[str, Column]:
        """Return the terms of the loss from step `first` on, each (n - first,)."""
        return {name: column[first : self.count] for name, column in self._terms.items()}

    def add_lines(self, lines: Sequence[bytes]) -> int:
        """Add the steps of these lines of events.jsonl but for damaged ones; return their number."""
        try:
            records = orjson.loads(b"[" + b",".join(lines) + b"]")
        except (ValueError, RecursionError):
            records = [record for line in lines if (record := _parsed(line)) is not None]
        return self.add(records)

    def add(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Add these records, StepDone as plain values, but for those that are none of a step; return their number."""
        try:
            numbers, terms = _columns(records)
            if len(self._terms.keys() | terms.keys()) > MAX_TERMS:
                raise ValueError("too many terms")
        except (TypeError, KeyError, IndexError, ValueError, AttributeError, OverflowError):
            middle = len(records) // 2
            return self.add(records[:middle]) + self.add(records[middle:]) if middle else 0
        first, self.count = self.count, self.count + len(records)
        _write(self._numbers, numbers, first, self.count)
        _write(self._terms, terms, first, self.count)
        return len(records)

    def truncate(self, epoch: int, step: int) -> None:
        """Drop the steps after `step` of the epoch that follows `epoch` whole ones: a resume repeats them."""
        done, number = self.number("epoch") - 1, self.number("step")
        later = (done > epoch) | ((done == epoch) & (number > step))
        if later.any():
            self.count = int(later.argmax())
            for column in (*self._numbers.values(), *self._terms.values()):
                column[self.count :] = math.nan


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _columns(records: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Column], dict[str, Column]]:
    """Return the records as columns; raises an error if a value is of the wrong type, or if their terms differ."""
    scales = [record.get("scale", 1) for record in records]  # older runs do not tell it
    rows = list(map(itemgetter(*NUMBERS[1:]), records))
    numbers = dict(zip(NUMBERS, [*_matrix([(scale,) for scale in scales]), *_matrix(rows)], strict=True))
    if any(not ((column >= 0) & (column <= MAX_NUMBER)).all() for column in numbers.values()):
        raise ValueError("a number of a step is out of bounds")
    if not np.isin(numbers["scale"], SCALES).all():
        raise ValueError("there is no such image scale")
    losses = list(map(itemgetter("losses"), records))
    names = list(losses[0])
    if set(map(len, losses)) != {len(names)}:
        raise ValueError("these steps have different terms")
    values = list(map(itemgetter(*names), losses)) if names else []
    terms = _matrix(values if len(names) > 1 else [(value,) for value in values])
    return numbers, dict(zip(names, terms, strict=True))


def _matrix(rows: Sequence[Sequence[float | None]]) -> npt.NDArray[np.float64]:
    """Return rows of numbers as columns, (columns, rows); raises TypeError where one is no number."""
    matrix = np.array(rows)
    if matrix.dtype.kind not in "if":
        # JSON has no NaN: a loss that is not finite was written as null. An array takes no text for a number.
        flat = array("d", (math.nan if value is None else value for row in rows for value in row))
        matrix = np.array(flat).reshape(len(rows), -1)
    return matrix.astype(np.float64).T


def _write(columns: dict[str, Column], new: Mapping[str, Column], first: int, end: int) -> None:
    """Write the new values to rows `first` to `end`; columns double as they grow."""
    for name in new:
        columns.setdefault(name, np.empty(0))
    for name, column in columns.items():
        if end > len(column):
            column = columns[name] = np.concatenate([column, np.full(max(1024, end, len(column)), math.nan)])
        if name in new:
            column[first:end] = new[name]
