"""Measuring a trained network on labelled images: case by case, summed up, and as a table to read."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from regstudio.data.dataset import ValidationPair, load_validation_pair
from regstudio.data.layout import Case
from regstudio.data.loaders import ImageLoader, LabelLoader
from regstudio.inference.registrar import Registrar, Registration

MEASURES = ("dice_before", "dice", "njd", "njd_percent", "ncc_before", "ncc", "seconds")
WORST_CASES = 3

Summary = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """How well one case was registered: metrics as in Registration, and the seconds of network and warping."""

    id: str
    metrics: Mapping[str, float]
    seconds: float


def evaluate(
    registrar: Registrar,
    cases: Sequence[Case],
    atlas: Case,
    image_loader: ImageLoader | None = None,
    label_loader: LabelLoader | None = None,
) -> Iterator[CaseResult]:
    """Register each case to the atlas and yield its metrics; Dice where both have a label.

    The first case is registered twice and the second time counts: the first pays for what a device does once. Raises
    DataError, naming the file, where one cannot be used: a mean over fewer cases than asked for would mislead.
    """
    images, labels = image_loader or ImageLoader(), label_loader or LabelLoader()
    for number, case in enumerate(cases):
        pair = load_validation_pair(case, atlas, images, labels)
        if number == 0:
            _register(registrar, pair)
        registration = _register(registrar, pair)
        yield CaseResult(id=case.id, metrics=registration.metrics, seconds=registration.seconds)


def _register(registrar: Registrar, pair: ValidationPair) -> Registration:
    fixed_label, moving_label = pair.get("fixed_label"), pair.get("moving_label")
    return registrar.register(
        pair["fixed_image"][0].numpy(),
        pair["moving_image"][0].numpy(),
        fixed_label=None if fixed_label is None else fixed_label[0].long().numpy(),
        moving_label=None if moving_label is None else moving_label[0].long().numpy(),
    )


def summarise(results: Iterable[CaseResult]) -> Summary:
    """Sum up an evaluation as JSON-ready values: `cases`, `mean`, `std` and `labels`.

    A case's Dice is the mean over its labels, and `mean` is over the cases; both leave out what has nothing to score,
    which is None. `std` is the sample standard deviation over the cases (n - 1), None for fewer than two. `labels`
    has, for each label, mean and std of its Dice before and after over the cases that have it.
    """
    cases = [_case(result) for result in results]
    columns = {name: [case[name] for case in cases] for name in MEASURES}
    ids = sorted({label for case in cases for label in case["per_label"]}, key=int)
    return {
        "cases": cases,
        "mean": {name: _mean(values) for name, values in columns.items()},
        "std": {name: _std(values) for name, values in columns.items()},
        "labels": {label: _label(case["per_label"].get(label, {}) for case in cases) for label in ids},
    }


def _case(result: CaseResult) -> dict[str, Any]:
    values = {**result.metrics, "seconds": result.seconds}
    before, after = _per_label(values, "dice_before_"), _per_label(values, "dice_")
    labels = sorted(before.keys() | after.keys(), key=int)
    per_label = {label: {"before": before.get(label), "after": after.get(label)} for label in labels}
    return {"id": result.id, **{name: values.get(name) for name in MEASURES}, "per_label": per_label}


def _per_label(values: Mapping[str, float], prefix: str) -> dict[str, float]:
    named = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    return {label: value for label, value in named.items() if label.lstrip("-").isdecimal()}


def _label(scores: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    scored = list(scores)
    summary: dict[str, float | None] = {}
    for when in ("before", "after"):
        values = [score.get(when) for score in scored]
        summary |= {when: _mean(values), f"{when}_std": _std(values)}
    return summary


def _there(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _mean(values: Iterable[float | None]) -> float | None:
    there = _there(values)
    return fmean(there) if there else None


def _std(values: Iterable[float | None]) -> float | None:
    there = _there(values)
    return stdev(there) if len(there) > 1 else None


def to_text(summary: Summary) -> str:
    """Return a summary as a table for the terminal: Dice before and after, NCC, folds, time, and the worst cases."""
    cases, mean, std = summary["cases"], summary["mean"], summary["std"]
    if not cases:
        return "0 cases: there is nothing to evaluate."
    lines = [
        f"{len(cases)} cases: mean ± sample standard deviation" if len(cases) > 1 else "1 case",
        "",
        *_aligned(_before_after(summary)),
        "",
        f"Folded (NJD)  {_spread(mean['njd_percent'], std['njd_percent'])} % of the pixels",
        f"Time a case   {_spread(mean['seconds'], std['seconds'])} s (network and warping)",
    ]
    scored = sorted((case for case in cases if case["dice"] is not None), key=lambda case: case["dice"])
    if not scored:
        lines += ["", "No Dice: the atlas or the cases have no labels to score."]
    elif len(cases) > 1:
        head = ("Lowest Dice", "before", "", "after", "folded")
        lines += ["", *_aligned((head, *map(_case_row, scored[:WORST_CASES])))]
    return "\n".join(lines)


Row = tuple[str, str, str, str, str]


def _row(name: str, before: float | None, before_std: float | None, after: float | None, std: float | None) -> Row:
    change = "" if before is None or after is None else f"{after - before:+.3f}"
    return name, _spread(before, before_std), "->", _spread(after, std), change


def _before_after(summary: Summary) -> Iterator[Row]:
    mean, std = summary["mean"], summary["std"]
    yield "", "before", "", "after", "change"
    if mean["dice"] is not None:
        yield _row("Dice", mean["dice_before"], std["dice_before"], mean["dice"], std["dice"])
        for label, of in summary["labels"].items():
            yield _row(f"  label {label}", of["before"], of["before_std"], of["after"], of["after_std"])
    yield _row("NCC", mean["ncc_before"], std["ncc_before"], mean["ncc"], std["ncc"])


def _case_row(case: Mapping[str, Any]) -> Row:
    return (
        f"  {case['id']}",
        _spread(case["dice_before"], None),
        "->",
        f"{case['dice']:.3f}",
        f"{case['njd_percent']:.2f} %",
    )


def _spread(mean: float | None, std: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def _aligned(table: Iterable[Row]) -> list[str]:
    rows = list(table)
    name, *others = (max(len(cell) for cell in column) for column in zip(*rows, strict=True))
    return [
        "  ".join(
            [row[0].ljust(name), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))]
        ).rstrip()
        for row in rows
    ]
