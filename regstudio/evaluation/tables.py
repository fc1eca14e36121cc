"""An evaluation as text for the terminal, as JSON, and as CSV files."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

from regstudio.evaluation.evaluate import Evaluation
from regstudio.evaluation.scores import COLUMNS, LABEL_RULE, METRICS, STAGES, CaseScores, Metric
from regstudio.evaluation.statistics import Description, PairedTest
from regstudio.files import write_text

WORST_CASES = 3
MAX_LABELS = 8  # with more, the terminal shows only Dice by label; labels.csv has the rest
WIDTH = 100
STATISTICS = ("count", "mean", "std", "median", "worst30")
_DECIMALS = {"%": 3, "distance": 2, "pixels": 1, "s": 3}

Row = tuple[str, ...]


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON-ready values: method, unit, cases, statistics, labels and provenance.

    Each case has id, every column, and per_label. `mean`, `std`, `median`, `worst30` and `count` map columns to
    numbers; `labels` maps each label id to the same statistics. Missing values are None.
    """
    columns = dict.fromkeys(("dice_before", "dice", *evaluation.columns))  # first the two most important ones
    return {
        "method": evaluation.method,
        "unit": evaluation.unit,
        "cases": [_case(case, columns) for case in evaluation.cases],
        **_statistics({column: evaluation.describe(column) for column in columns}),
        "labels": {
            str(label): _statistics(
                {column: evaluation.describe(column, label) for column in label_columns(evaluation)}
            )
            for label in evaluation.labels
        },
        "provenance": dict(evaluation.provenance),
    }


def write_tables(folder: Path, evaluations: Iterable[Evaluation]) -> tuple[Path, ...]:
    """Write cases.csv (one row a case), labels.csv (one row a case and label) and summary.csv (one row a metric).

    The first column is the method, as each table holds all evaluations. Returns the paths.
    """
    every = tuple(evaluations)
    tables = {
        "cases.csv": [{"method": e.method, "unit": e.unit, "id": c.id, **c.values} for e in every for c in e.cases],
        "labels.csv": [
            {"method": e.method, "unit": e.unit, "id": case.id, "label": label, **values}
            for e in every
            for case in e.cases
            for label, values in case.labels.items()
        ],
        "summary.csv": [row for evaluation in every for row in _summary_rows(evaluation)],
    }
    for name, rows in tables.items():
        write_text(folder / name, _to_csv(rows))
    return tuple(folder / name for name in tables)


def to_text(evaluation: Evaluation) -> str:
    """Return the summary for a terminal: metrics before and after, folds, time, label rule, and the worst cases."""
    if not evaluation.cases:
        return "0 cases: there is nothing to evaluate."
    count = len(evaluation.cases)
    lines = [
        f"{evaluation.method}, " + (f"{count} cases: mean ± sample standard deviation" if count > 1 else "1 case"),
        "",
    ]
    lines += [*aligned_columns(_staged_rows(evaluation)), "", *aligned_columns(_single_rows(evaluation))]
    if evaluation.labels:
        lines += ["", *wrap(LABEL_RULE, WIDTH), *_left_out(evaluation)]
    elif not any(case.left_out for case in evaluation.cases):
        lines += ["", "No Dice: the fixed images or the cases have no labels to score."]
    else:
        lines += ["", "No Dice: the fixed images and the cases have no label in common.", *wrap(LABEL_RULE, WIDTH)]
    if worst := _lowest(evaluation, "dice"):
        lines += ["", *aligned_columns([("Lowest Dice", "before", "after", "folded"), *map(_worst_row, worst)])]
    elif doubtful := _lowest(evaluation, "quality"):
        rows = [(f"  {case.id}", f"{case.values['quality']:.3f}") for case in doubtful]
        lines += ["", *aligned_columns([("Lowest quality", ""), *rows])]
    return "\n".join(lines)


def comparison_text(first: Evaluation, second: Evaluation, tests: Mapping[str, PairedTest]) -> str:
    """Return the paired tests of two evaluations (see `compare`) as a table for a terminal."""
    rows: list[Row] = [("", first.method, second.method, "median change", "p")]
    for metric in METRICS:
        test = tests.get(metric.name)
        if test is None or test.p is None:
            continue
        means = [format_score(metric, evaluation.describe(metric.name).mean) for evaluation in (first, second)]
        p = "< 0.0001" if test.p < 1e-4 else f"{test.p:.4f}"
        rows.append((title(metric, first.unit), *means, format_score(metric, test.median_difference, sign="+"), p))
    cases = max((test.count for test in tests.values()), default=0)
    heading = f"{second.method} against {first.method}, Wilcoxon's signed-rank test (two-sided) on {cases} common cases"
    return "\n".join([heading, "", *aligned_columns(rows)])


def title(metric: Metric, unit: str) -> str:
    """Return a metric's title with its unit, such as "HD95 (mm)"; `unit` is that of distances."""
    own = unit if metric.unit == "distance" else metric.unit
    return f"{metric.title} ({own})" if own else metric.title


def label_columns(evaluation: Evaluation) -> list[str]:
    """Return the columns that have a value for each label."""
    return [column for column in evaluation.columns if COLUMNS[column].by_label]


def aligned_columns(table: Iterable[Row]) -> list[str]:
    """Return the lines of a text table: the first column left-aligned, the others right-aligned."""
    rows = list(table)
    if not rows:
        return []
    first_width, *widths = (max(len(cell) for cell in column) for column in zip(*rows, strict=True))
    return [
        "  ".join(
            [row[0].ljust(first_width), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))]
        ).rstrip()
        for row in rows
    ]


def _case(case: CaseScores, columns: Iterable[str]) -> dict[str, Any]:
    return {
        "id": case.id,
        **{column: case.values.get(column) for column in columns},
        "per_label": {str(label): dict(values) for label, values in case.labels.items()},
        "left_out": list(case.left_out),
        "lost": list(case.lost),
    }


def _statistics(described: Mapping[str, Description]) -> dict[str, dict[str, float | None]]:
    return {
        name: {column: asdict(description)[name] for column, description in described.items()} for name in STATISTICS
    }


def _summary_rows(evaluation: Evaluation) -> Iterable[dict[str, Any]]:
    method, unit = evaluation.method, evaluation.unit
    for column in evaluation.columns:
        yield {"method": method, "unit": unit, "metric": column, "label": "", **asdict(evaluation.describe(column))}
    for label in evaluation.labels:
        for column in label_columns(evaluation):
            described = asdict(evaluation.describe(column, label))
            yield {"method": method, "unit": unit, "metric": column, "label": label, **described}


def _to_csv(rows: list[dict[str, Any]]) -> str:
    table = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    header = [*(name for name in names if name not in COLUMNS), *(name for name in COLUMNS if name in names)]
    writer = csv.DictWriter(table, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _staged_rows(evaluation: Evaluation) -> Iterable[Row]:
    staged = [metric for metric in METRICS if metric.staged and metric.name in evaluation.columns]
    affine = any(metric.column("affine") in evaluation.columns for metric in staged)
    stages = [stage for stage in STAGES if affine or stage != "affine"]
    yield ("", *stages, "median", "worst 30 %")
    for metric in staged:
        by_label = metric.by_label and (metric.name == "dice" or len(evaluation.labels) <= MAX_LABELS)
        for label in (None, *(evaluation.labels if by_label else ())):
            described = [evaluation.describe(metric.column(stage), label) for stage in stages]
            after = (format_score(metric, value) for value in (described[-1].median, described[-1].worst30))
            name = title(metric, evaluation.unit) if label is None else f"  label {label}"
            yield name, *(format_mean_std(metric, each) for each in described), *after


def _single_rows(evaluation: Evaluation) -> Iterable[Row]:
    for metric in METRICS:
        if not metric.staged and metric.name in evaluation.columns:
            yield title(metric, evaluation.unit), format_mean_std(metric, evaluation.describe(metric.name))


def _lowest(evaluation: Evaluation, column: str) -> list[CaseScores]:
    """Return the WORST_CASES cases of the lowest values in a column; none if fewer than two have one."""
    scored = [case for case in evaluation.cases if column in case.values]
    return sorted(scored, key=lambda case: case.values[column])[:WORST_CASES] if len(scored) > 1 else []


def _worst_row(case: CaseScores) -> Row:
    before, after, folds = (case.values.get(name) for name in ("dice_before", "dice", "njd_percent"))
    return f"  {case.id}", f"{before:.3f}", f"{after:.3f}", "-" if folds is None else f"{folds:.2f} %"


def _left_out(evaluation: Evaluation) -> Iterable[str]:
    left_out = Counter(label for case in evaluation.cases for label in case.left_out)
    lost = Counter(label for case in evaluation.cases for label in case.lost)
    for what, counts in (("Left out", left_out), ("Lost", lost)):
        if counts:
            listed = ", ".join(f"label {label} in {counts[label]}" for label in sorted(counts))
            yield f"{what}: {listed} of {len(evaluation.cases)} cases."


def format_mean_std(metric: Metric, described: Description) -> str:
    """Format the mean and standard deviation of a score for a table: "0.812 ± 0.034"."""
    if described.mean is None:
        return "-"
    mean = format_score(metric, described.mean)
    return mean if described.std is None else f"{mean} ± {format_score(metric, described.std)}"


def format_score(metric: Metric, value: float | None, sign: str = "") -> str:
    """Format a score with the decimals of its unit, "-" for None; `sign` is a format specifier's sign, such as "+".

    Distances below 0.1, as in pictures from a microscope, have three significant digits.
    """
    if value is None:
        return "-"
    decimals = _DECIMALS.get(metric.unit, 3)
    if metric.unit == "distance" and 1e-6 <= abs(value) < 0.1:
        decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{value:{sign}.{decimals}f}"
