"""Accuracies as lines for a terminal, as Markdown, as JSON, and as what a picture of them shows."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from regstudio.bench.accuracy import Accuracy, LeftOut
from regstudio.drawing.dot_plot import Dot, Panel
from regstudio.evaluation.scores import COLUMNS
from regstudio.evaluation.tables import format_score

HEADS = ("set", "method", "measure", "cases", "mean", "worst 30 %", "worse", "folds", "seconds", "training s")
_WIDTHS = (18, 28, 12, 5, 8, 10, 6, 8, 8, 10)


def text_line(cells: Sequence[str]) -> str:
    """Return a line of the table for a terminal: words to the left, numbers to the right."""
    words = (cell.ljust(width) for cell, width in zip(cells[:3], _WIDTHS[:3], strict=True))
    numbers = (cell.rjust(width) for cell, width in zip(cells[3:], _WIDTHS[3:], strict=True))
    return "  ".join([*words, *numbers]).rstrip()


def cells(row: Accuracy) -> tuple[str, ...]:
    """Return what the table says of a method on a set, in the order of HEADS."""
    metric = COLUMNS[row.column]
    trained = "" if row.training_seconds is None else f"{row.training_seconds:.0f}"
    scores = (format_score(metric, value) for value in (row.mean, row.worst30))
    quantities = (f"{row.worse:.0%}", f"{row.folds_percent:.3f} %", f"{row.seconds:.2f}", trained)
    return (row.data, row.title, row.measure, str(len(row.values)), *scores, *quantities)


def to_markdown(rows: Sequence[Accuracy], left_out: Iterable[LeftOut]) -> str:
    """Return two tables, to be pasted: the means, with a column a set, the best in bold; and all that was measured."""
    methods = list(dict.fromkeys(row.title for row in rows))
    found = {(row.title, row.data, row.measure): row for row in rows}
    columns = list(dict.fromkeys((row.data, row.measure) for row in rows))
    lines = _markdown_head(["method", *(f"{data}, {measure}" for data, measure in columns)], 1)
    for method in methods:
        means = [_mean(found.get((method, *column)), rows) for column in columns]
        lines.append(_markdown_line([method, *means]))
    lines += ["", *_markdown_head(HEADS, 3)]
    lines += [_markdown_line(cells(row)) for row in rows]
    reasons = [f"- {reason}" for reason in left_out]
    return "\n".join([*lines, *([""] if reasons else []), *reasons]) + "\n"


def to_json(rows: Iterable[Accuracy], left_out: Iterable[LeftOut]) -> dict[str, Any]:
    """Return everything as JSON-ready values, with the value of each case."""
    return {"rows": [asdict(row) for row in rows], "left_out": [asdict(reason) for reason in left_out]}


def panels(rows: Sequence[Accuracy]) -> list[Panel]:
    """Return what a picture shows: a panel a set and measure, and in it a line a method."""
    keys = dict.fromkeys((row.data, row.measure, COLUMNS[row.column].higher_is_better) for row in rows)
    return [
        Panel(
            title=f"{data}, {measure}",
            higher_is_better=higher,
            dots=tuple(
                Dot(name=row.title, mean=row.mean, worst=row.worst30)
                for row in rows
                if (row.data, row.measure) == (data, measure)
            ),
        )
        for data, measure, higher in keys
    ]


def _mean(row: Accuracy | None, rows: Iterable[Accuracy]) -> str:
    if row is None:
        return "-"
    metric = COLUMNS[row.column]
    rivals = [other.mean for other in rows if (other.data, other.measure) == (row.data, row.measure)]
    best = max(rivals) if metric.higher_is_better else min(rivals)
    text = format_score(metric, row.mean)
    return f"**{text}**" if text == format_score(metric, best) else text


def _markdown_head(heads: Sequence[str], words: int) -> list[str]:
    return [_markdown_line(heads), "|" + "---|" * words + "---:|" * (len(heads) - words)]


def _markdown_line(line: Sequence[str]) -> str:
    return f"| {' | '.join(line)} |"
