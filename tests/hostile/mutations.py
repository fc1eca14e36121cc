"""Records of plain values, each with one field that is not what it should be."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


ODD_VALUES: Mapping[str, Any] = {
    "null": None,
    "list": [1],
    "nothing": {},
    "text": "text",
    "number as text": "3",
    "true": True,
    "negative": -1,
    "fraction": 0.5,
    "huge": 10**30,
    "infinite": math.inf,
    "nan": math.nan,
    "long": "x" * 100_000,
    "nested": nested(100),
    "not Unicode": "\ud800",
    "NUL": "a\0b",
}


def mutated(
    record: Mapping[str, Any], paths: Sequence[Sequence[Any]], odd: Mapping[str, Any] = ODD_VALUES
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the record with each of the `paths` replaced by each odd value, and removed; with a name for each."""
    for path in paths:
        for name, value in odd.items():
            yield f"{'.'.join(map(str, path))}: {name}", replaced(record, path, value)
        yield f"{'.'.join(map(str, path))}: missing", replaced(record, path)


def replaced(record: Mapping[Any, Any], path: Sequence[Any], *value: Any) -> dict[Any, Any]:
    """Return the record with another value at `path`, or none."""
    first, *rest = path
    if rest:
        return {**record, first: replaced(record[first], rest, *value)}
    others = {key: item for key, item in record.items() if key != first}
    return {**others, first: value[0]} if value else others
