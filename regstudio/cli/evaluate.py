"""`regstudio evaluate`: scores of networks and of the methods that need none, on labelled images."""

import json
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.options import (
    AffineChoice,
    RefineChoice,
    affine_option,
    distributed,
    given,
    precision_option,
    refine_option,
    refuse_of_networks,
    setting_options,
    similarity_option,
)
from regstudio.config import build_config, read_config
from regstudio.methods import BASELINES, NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from regstudio.data.folders.layout import Case, DataIndex
    from regstudio.data.pairs.reader import PairReader
    from regstudio.distributed import Group
    from regstudio.evaluation.evaluate import Evaluation
    from regstudio.methods import SimilarityChoice
    from regstudio.methods.method import Method
    from regstudio.networks.base import Precision

FILE = click.Path(path_type=Path)
SHOWN_CASES = 3


@click.command()
@click.option(
    "--checkpoint",
    "checkpoints",
    type=FILE,
    multiple=True,
    help="a .pt file, such as RUN/checkpoints/best_model.pt; further ones are compared with the first",
)
@click.option(
    "--method",
    "names",
    type=click.Choice(NAMES),
    multiple=True,
    help="a method that needs no checkpoint; may be given several times  [default: general, without a checkpoint]",
)
@similarity_option
@click.option("--json", "json_path", type=FILE, help="write the scores of every case to this file")
@click.option("--csv", "csv_dir", type=FILE, help="write cases.csv, labels.csv and summary.csv to this folder")
@click.option("--report", "report_dir", type=FILE, help="write one HTML page and the tables to this folder")
@click.option(
    "--baseline",
    "baselines",
    type=click.Choice(list(BASELINES)),
    multiple=True,
    help="a method to compare with, after all others; may be given several times",
)
@click.option("--compare", type=FILE, help="test against an earlier evaluation: a file that --json wrote")
@click.option("--figure", type=FILE, help=f"write a picture of {SHOWN_CASES} cases before and after to this file")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N")
@precision_option
@affine_option
@refine_option
@setting_options("layout", "reading")
@distributed
def evaluate(
    group: "Group",
    checkpoints: tuple[Path, ...],
    names: tuple[str, ...],
    similarity: "SimilarityChoice",
    json_path: Path | None,
    csv_dir: Path | None,
    report_dir: Path | None,
    baselines: tuple[str, ...],
    compare: Path | None,
    figure: Path | None,
    device: str,
    precision: "Precision",
    affine: AffineChoice,
    refine: RefineChoice,
    **values: Any,
) -> None:
    """Measure methods on the validation images of a data folder, or on all pairs of a folder of pairs.

    Dice and distances of outlines before and after, landmarks if there are any, image similarity, folds and time.
    Checkpoints come first, then each --method and each --baseline; the report, tables and tests are about the first.
    The first checkpoint, if there is one, gives the data layout and reading settings, unless a flag overrides them.
    """
    from regstudio.evaluation import tables
    from regstudio.evaluation.earlier import read_evaluation
    from regstudio.evaluation.evaluate import compare as paired_tests
    from regstudio.evaluation.report.compose import checkpoint_method, compose, method_by_name
    from regstudio.files import write_text
    from regstudio.networks.checkpoint import load_checkpoint
    from regstudio.training.setup import pair_reader

    earlier = None if compare is None else read_evaluation(compare)
    if not checkpoints:
        refuse_of_networks(affine=affine, refine=refine, precision=precision)
        names = names or ("general",)
    recorded = load_checkpoint(checkpoints[0]).config if checkpoints else None
    config = build_config(given(values), read_config(recorded) if recorded else None)
    # Build all methods before the first one runs, so that a missing package is reported at once.
    own = values["normalise"]
    how = affine, refine or 0, precision, own
    methods = [checkpoint_method(path, group.device(device), *how) for path in checkpoints]
    methods += [method_by_name(name, group.device(device), similarity) for name in dict.fromkeys((*names, *baselines))]
    index, reference = group.broadcast_from_first(lambda: _usable_data(config))
    read = pair_reader(config.reading, reference, with_points=True)
    evaluations = []
    for method in methods:
        evaluations.append(_evaluate(method, index, read, group))
        click.echo(("\n" if evaluations[1:] else "") + tables.to_text(evaluations[-1]))
        refinements = [case.refinement for case in evaluations[-1].cases]
        if any("refine_seconds" in metrics for metrics in refinements):
            click.echo("\n" + _refinement_gain(refine, refinements))
    if not group.is_first:
        return
    first, *others = evaluations
    for other in ([earlier] if earlier else []) + others:
        click.echo("\n" + tables.comparison_text(other, first, paired_tests(other, first)))
    if json_path:
        write_text(json_path, json.dumps(tables.to_json(first), indent=2, allow_nan=False) + "\n")
    if csv_dir:
        tables.write_tables(csv_dir, evaluations)
    if report_dir:
        checkpoint = next(iter(checkpoints), None)
        page = compose(report_dir, methods[0], evaluations, index, read, checkpoint=checkpoint)
        click.echo(f"\nReport: {page}")
    if figure:
        _draw(figure, methods[0], first, index, read)


def _evaluate(method: "Method", index: "DataIndex", read: "PairReader", group: "Group") -> "Evaluation":
    """Evaluate a method on all images to evaluate on, with a progress bar for those of this process."""
    from tqdm import tqdm

    from regstudio.evaluation.report.compose import measure

    bar = partial(tqdm, total=len(index.evaluated[group.shard]), desc="Evaluating", unit="image", leave=False)
    return measure(method, index, read, bar, group)


def _refinement_gain(refine: RefineChoice, refinements: "Sequence[Mapping[str, float]]") -> str:
    """Return a line with the mean gain and cost of the refinement."""

    def mean(name: str) -> float:
        return fmean(metrics[name] for metrics in refinements if name in metrics)

    gains = [
        f"{title} {mean(f'{name}_unrefined'):.4f} -> {mean(name):.4f}"
        for title, name in (("Dice", "dice"), ("NCC", "ncc"))
        if any(name in metrics for metrics in refinements)
    ]
    how = "" if refine == "auto" else f" by {refine} steps"
    return f"Refined{how}: {', '.join(gains)}, for {mean('refine_seconds'):.2f} s a pair"


def _usable_data(config: Any) -> "tuple[DataIndex, Case]":
    """Print the problems of a data folder; return its index and a fixed image. Raises DataError without images."""
    from regstudio.errors import DataError
    from regstudio.training.setup import check_data

    index = check_data(config, most=0).index
    for problem in index.problems:
        if problem.severity != "note":
            click.echo(f"{problem.severity.capitalize()}: {problem}", err=True)
    if index.reference is None or not index.evaluated:
        raise DataError(f"{index.root}: there are neither an atlas with validation images nor pairs to evaluate on.")
    return index, index.reference


def _draw(path: Path, method: "Method", evaluation: "Evaluation", index: "DataIndex", read: "PairReader") -> None:
    """Draw the cases with the lowest, the middle and the highest Dice before registration."""
    from regstudio.drawing.overlay import before_after
    from regstudio.evaluation.report.compose import comparisons
    from regstudio.files import atomic_path

    shown = _first_middle_last(
        [case.id for case in sorted(evaluation.cases, key=lambda c: c.values.get("dice_before", 0))]
    )
    with atomic_path(path) as temporary:
        before_after(list(comparisons(method, shown, index, read).values())).savefig(temporary)


def _first_middle_last(ranked: "Sequence[str]") -> set[str]:
    """Return SHOWN_CASES evenly spaced ids: the first, the middle and the last."""
    return {ranked[round(number * (len(ranked) - 1) / (SHOWN_CASES - 1))] for number in range(SHOWN_CASES)}
