"""From a method and labelled images to a report, for the command line and the page alike."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from regstudio.data.folders.layout import DataIndex
from regstudio.data.loading.loaders import Normalise
from regstudio.data.pairs.reader import PairReader
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.drawing.comparison import Comparison, comparison
from regstudio.evaluation.evaluate import CaseResult, Evaluation, collect, data_provenance, evaluate
from regstudio.evaluation.report.page import worst_and_best, write_report
from regstudio.methods import SimilarityChoice
from regstudio.methods.alignment import Alignment
from regstudio.methods.method import Method, WarmedUp
from regstudio.methods.named import named_method
from regstudio.methods.network import Refine, load_method
from regstudio.networks.base import Precision
from regstudio.networks.device import find_device
from regstudio.runs.diagnosis import findings_beside


def checkpoint_method(
    path: Path,
    device: str = "auto",
    affine: Alignment | None = None,
    refine: Refine = 0,
    precision: Precision = "float32",
    normalise: Normalise | None = None,
) -> Method:
    """Load a checkpoint as a method with comparable seconds: warmed up, and without cached affine maps."""
    method = load_method(
        path, device, affine=affine, normalise=normalise, cache_affine=False, precision=precision, refine=refine
    )
    return WarmedUp(method)


def method_by_name(name: str, device: str = "auto", similarity: SimilarityChoice = "auto") -> Method:
    """Return a method that needs no checkpoint (see `named_method`), warmed up as well."""
    return WarmedUp(named_method(name, similarity=similarity, device=find_device(device)))


def measure(
    method: Method,
    index: DataIndex,
    read: PairReader,
    watch: Callable[[Iterable[CaseResult]], Iterable[CaseResult]] = lambda results: results,
    group: Group = SINGLE_PROCESS,
) -> Evaluation:
    """Evaluate a method on all images to evaluate on; `watch` wraps the results, such as tqdm.

    The processes of a `group` share the images, each watches its own, and each returns the whole evaluation.
    """
    results = evaluate(method, index.evaluated[group.shard], read)
    return collect(method, watch(results), data_provenance(index), group)


def comparisons(method: Method, shown: Collection[str], index: DataIndex, read: PairReader) -> dict[str, Comparison]:
    """Register the cases with the ids `shown` again, and return what to draw of each by id."""
    chosen = [case for case in index.evaluated if case.id in shown]
    found = (result.registration for result in evaluate(method, chosen, read))
    return {registration.pair.id: comparison(registration) for registration in found}


def compose(
    folder: Path,
    method: Method,
    evaluations: Sequence[Evaluation],
    index: DataIndex,
    read: PairReader,
    *,
    checkpoint: Path | None = None,
) -> Path:
    """Write the report of the first evaluation, made with `method`, and the others; return the page's path.

    Of a `checkpoint` that lies in its run, the report also says what is seen in its training.
    """
    findings = [] if checkpoint is None else findings_beside(checkpoint)
    worst, best = worst_and_best(evaluations[0])
    drawn = comparisons(method, {*worst, *best}, index, read)
    return write_report(
        folder,
        evaluations,
        worst=[drawn[case] for case in worst],
        best=[drawn[case] for case in best],
        findings=[(finding.seen, finding.remedy) for finding in findings],
    )
