"""From a checkpoint and labelled images to a report: what the command line and the page do alike."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from regstudio.data.layout import DataIndex
from regstudio.data.pairs import PairReader
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.drawing.overlay import Comparison, comparison
from regstudio.evaluation.evaluate import CaseResult, Evaluation, collect, data_provenance, evaluate
from regstudio.evaluation.report.page import worst_and_best, write_report
from regstudio.methods.method import Method, WarmedUp
from regstudio.methods.network import load_method
from regstudio.networks.base import Precision


def checkpoint_method(
    path: Path,
    device: str = "auto",
    affine: Literal["none", "auto"] | None = None,
    refine: int = 0,
    precision: Precision = "float32",
) -> Method:
    """Return a checkpoint as a method whose seconds are to be compared: warmed up, and with no affine map cached."""
    return WarmedUp(load_method(path, device, affine=affine, cache_affine=False, precision=precision, refine=refine))


def measure(
    method: Method,
    index: DataIndex,
    read: PairReader,
    watch: Callable[[Iterable[CaseResult]], Iterable[CaseResult]] = lambda results: results,
    group: Group = SINGLE_PROCESS,
) -> Evaluation:
    """Evaluate a method on all validation images; each result goes through `watch`, such as a progress bar.

    The processes of a `group` share the images out, each watches its own, and all return the whole evaluation.
    """
    results = evaluate(method, index.validation[group.shard], read)
    return collect(method, watch(results), data_provenance(index), group)


def comparisons(method: Method, shown: Collection[str], index: DataIndex, read: PairReader) -> dict[str, Comparison]:
    """Register the named cases once more, and return what is drawn of each."""
    chosen = [case for case in index.validation if case.id in shown]
    found = (result.registration for result in evaluate(method, chosen, read))
    return {registration.pair.id: comparison(registration) for registration in found}


def compose(
    folder: Path, method: Method, evaluations: Sequence[Evaluation], index: DataIndex, read: PairReader
) -> Path:
    """Write the report of the first evaluation, whose method is given, beside the others; return its page."""
    worst, best = worst_and_best(evaluations[0])
    drawn = comparisons(method, {*worst, *best}, index, read)
    return write_report(folder, evaluations, worst=[drawn[case] for case in worst], best=[drawn[case] for case in best])
