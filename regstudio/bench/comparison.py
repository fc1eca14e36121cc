"""Two benchmarks of one machine compared: how long each step and registration takes now, as a share of before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from regstudio.bench.steps import Speed
from regstudio.errors import DataError
from regstudio.schema import Count, Name, SchemaError, Seconds, parse, read_bytes

MAX_LINES = 10_000


@dataclass(frozen=True, kw_only=True)
class _Line:
    network: Name
    precision: Name
    size: Count
    batch_size: Count
    step: Seconds
    registration: Seconds


@dataclass(frozen=True, kw_only=True)
class _Record:
    networks: Annotated[list[_Line], Field(max_length=MAX_LINES)]


_RECORD = TypeAdapter(_Record)
Key = tuple[str, str, int, int]


def read_times(path: Path) -> dict[Key, tuple[float, float]]:
    """Return the seconds of a step and of a registration from a file of `regstudio bench --json`.

    The keys are network, precision, size and batch size. Raises DataError for another file.
    """
    try:
        lines = parse(read_bytes(path), _RECORD).networks
    except SchemaError as error:
        raise DataError(f"{path}: {error}. Name a file that `regstudio bench --json` wrote.") from None
    return {
        (line.network, line.precision, line.size, line.batch_size): (line.step, line.registration) for line in lines
    }


def ratios(now: Sequence[Speed], before: dict[Key, tuple[float, float]]) -> Iterator[tuple[Speed, float, float]]:
    """Yield what was measured both times, with the times of step and registration as shares of those before."""
    for speed in now:
        times = before.get((speed.network, speed.precision, speed.size, speed.batch_size))
        if times is not None and all(times):
            yield speed, speed.step / times[0], speed.registration / times[1]
