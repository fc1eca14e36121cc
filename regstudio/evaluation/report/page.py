"""The report of an evaluation: one self-contained HTML page, and its tables as CSV."""

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from regstudio.drawing.case_row import case_row
from regstudio.drawing.comparison import Comparison
from regstudio.evaluation.evaluate import Evaluation, compare
from regstudio.evaluation.report.html import Html, table, tag
from regstudio.evaluation.report.plots import box_plots
from regstudio.evaluation.scores import METRICS, STAGES
from regstudio.evaluation.tables import format_mean_std, format_score, title, write_tables
from regstudio.files import read_asset, write_text

SHOWN_CASES = 6
PAGE = "report.html"
SPLIT = ("train", "validation", "pairs")  # of data_provenance
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # allow no request to a server


def worst_and_best(evaluation: Evaluation, count: int = SHOWN_CASES) -> tuple[list[str], list[str]]:
    """Return the ids of the `count` worst cases (worst first) and the `count` best (best first) by Dice, else NCC.

    No id is in both: with few cases, the lower half are the worst.
    """
    column = "dice" if "dice" in evaluation.columns else "ncc"
    scored = [case for case in evaluation.cases if column in case.values]
    ranked = [case.id for case in sorted(scored, key=lambda case: case.values[column])]
    worst = ranked[: min(count, -(-len(ranked) // 2))]
    return worst, ranked[len(worst) :][-count:][::-1]


def write_report(
    folder: Path,
    evaluations: Sequence[Evaluation],
    *,
    worst: Sequence[Comparison] = (),
    best: Sequence[Comparison] = (),
    findings: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write report.html, cases.csv, labels.csv and summary.csv to `folder`; return the path of the page.

    The report is about the first evaluation, compared with the others, all on the same cases. `worst` and `best` are
    cases of the first, drawn in this order (see `worst_and_best`); `findings` are what is seen in its training, and
    what to do. The page makes no request.
    """
    write_tables(folder, evaluations)
    write_text(folder / PAGE, _page(evaluations, worst, best, findings))
    return folder / PAGE


def _page(
    evaluations: Sequence[Evaluation],
    worst: Sequence[Comparison],
    best: Sequence[Comparison],
    findings: Sequence[tuple[str, str]],
) -> str:
    first = evaluations[0]
    name = f"Registration report: {first.method}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", name),
        tag("style", Html(read_asset("report.css"))),
    )
    data = first.provenance.get("data", {})
    root, atlas = data.get("root", "unnamed data"), data.get("atlas", "one atlas")
    target = f"registered to {atlas}" if atlas else "each registered to a fixed image of its own"
    facts = f"{len(first.cases)} cases of {root}, {target}"
    body = tag(
        "body",
        tag("h1", name),
        tag("p", facts, class_="soft"),
        _training(findings),
        _overview(evaluations),
        _plots(evaluations),
        _paired_tests(evaluations),
        _pictures("Worst cases", worst),
        _pictures("Best cases", best),
        [_details(evaluation) for evaluation in evaluations],
        _origin(evaluations),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _training(findings: Sequence[tuple[str, str]]) -> Html:
    if not findings:
        return Html("")
    items = [tag("li", seen, " ", tag("span", remedy, class_="soft")) for seen, remedy in findings]
    return tag("section", tag("h2", "What is seen in the training"), tag("ul", items))


def _overview(evaluations: Sequence[Evaluation]) -> Html:
    """Return the summary table: all methods side by side, and the values before registration."""
    first = evaluations[0]
    rows = []
    for metric in METRICS:
        if any(metric.name in evaluation.columns for evaluation in evaluations):
            described = [evaluation.describe(metric.name) for evaluation in evaluations]
            if metric.staged:
                described.insert(0, first.describe(metric.column("before")))
            empty = [] if metric.staged else [""]
            rows.append([title(metric, first.unit), *empty, *(format_mean_std(metric, each) for each in described)])
            if metric.staged:
                rows.append(["  median", *(format_score(metric, each.median) for each in described)])
                rows.append(["  worst 30 %", *(format_score(metric, each.worst30) for each in described)])
    note = "Mean and sample standard deviation over the cases. Times are of this machine, without reading and scoring."
    heads = ["", "before", *(evaluation.method for evaluation in evaluations)]
    return tag("section", tag("h2", "Summary"), tag("p", note, class_="soft"), table(heads, rows))


def _plots(evaluations: Sequence[Evaluation]) -> Html:
    if "dice" not in evaluations[0].columns:
        return Html("")
    note = (
        "Boxes are quartiles and median, whiskers reach 1.5 times as far: grey before, pale after the affine map, and "
        "in the label's colour after registration."
    )
    plots = box_plots(evaluations, evaluations[0].labels)
    return tag("section", tag("h2", "Dice by label"), tag("p", note, class_="soft"), tag("div", plots, class_="wide"))


def _paired_tests(evaluations: Sequence[Evaluation]) -> Html:
    if len(evaluations) < 2:
        return Html("")
    note = "Wilcoxon's signed-rank test, two-sided, on the common cases; not corrected for the number of tests."
    tables = [_paired_test(a, b) for a, b in combinations(evaluations, 2)]
    return tag("section", tag("h2", "Paired tests"), tag("p", note, class_="soft"), tables)


def _paired_test(first: Evaluation, second: Evaluation) -> Html:
    tests = compare(second, first)
    rows = []
    for metric in METRICS:
        test = tests.get(metric.name)
        if test is not None and test.p is not None:
            means = [format_score(metric, each.describe(metric.name).mean) for each in (first, second)]
            p = "< 0.0001" if test.p < 1e-4 else f"{test.p:.4f}"
            change = format_score(metric, test.median_difference, "+")
            rows.append([title(metric, first.unit), *means, change, p, str(test.count)])
    heads = ["", first.method, second.method, "median difference", "p", "pairs"]
    return tag("div", tag("h3", f"{first.method} against {second.method}"), table(heads, rows))


def _details(evaluation: Evaluation) -> Html:
    affine = any(metric.column("affine") in evaluation.columns for metric in METRICS if metric.staged)
    stages = [stage for stage in STAGES if affine or stage != "affine"]
    rows = []
    for metric in METRICS:
        for label in (None, *(evaluation.labels if metric.by_label else ())):
            described = {stage: evaluation.describe(metric.column(stage), label) for stage in metric.stages}
            after = described["after"]
            if after.count:
                name = title(metric, evaluation.unit) if label is None else f"  label {label}"
                spreads = [format_mean_std(metric, described[stage]) if stage in described else "" for stage in stages]
                numbers = [format_score(metric, value) for value in (after.median, after.worst30)]
                rows.append([name, *spreads, *numbers, str(after.count)])
    heads = ["", *stages, "median after", "worst 30 % after", "cases"]
    return tag("section", tag("h2", f"All scores: {evaluation.method}"), table(heads, rows))


def _pictures(heading: str, cases: Sequence[Comparison]) -> Html:
    if not cases:
        return Html("")
    return tag("section", tag("h2", heading), [_picture(case) for case in cases])


def _picture(case: Comparison) -> Html:
    source = "data:image/webp;base64," + base64.b64encode(case_row(case)).decode()
    scores = [("Dice before", case.dice_before), ("after", case.dice)]
    caption = ", ".join([case.name, *(f"{name} {value:.3f}" for name, value in scores if value is not None)])
    return tag("figure", tag("img", src=source, alt=f"Six pictures of {case.name}"), tag("figcaption", caption))


def _origin(evaluations: Sequence[Evaluation]) -> Html:
    provenance = evaluations[0].provenance
    data, conventions = provenance.get("data", {}), provenance.get("conventions", {})
    split = [
        tag("details", tag("summary", f"{name}: {len(data[name])} cases"), tag("p", ", ".join(map(str, data[name]))))
        for name in SPLIT
        if name in data
    ]
    methods = [tag("div", tag("h3", e.method), _facts(e.provenance.get("method", {}))) for e in evaluations]
    return tag(
        "section",
        tag("h2", "Conventions"),
        _facts(conventions),
        tag("h2", "Data"),
        _facts({key: value for key, value in data.items() if key not in SPLIT}),
        split,
        tag("h2", "Methods"),
        tag("p", f"RegStudio {provenance.get('regstudio', '')}", class_="soft"),
        methods,
    )


def _facts(facts: Mapping[str, Any]) -> Html:
    def described(value: Any) -> Html:
        if isinstance(value, Mapping | list | tuple):
            return tag("dd", tag("pre", json.dumps(value, indent=1, default=str)))
        return tag("dd", "-" if value is None else str(value))

    return tag(
        "dl", [part for key, value in facts.items() for part in (tag("dt", key.replace("_", " ")), described(value))]
    )
