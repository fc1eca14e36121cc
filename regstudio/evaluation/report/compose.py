"""From a checkpoint and labelled images to a report: what the command line and the page do alike."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from regstudio.config import TrainConfig
from regstudio.data.layout import Case, DataIndex
from regstudio.data.pairs import PairReader
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.drawing.overlay import Comparison, comparison
from regstudio.evaluation.evaluate import (
    CaseResult,
    Evaluation,
    checkpoint_name,
    checkpoint_provenance,
    collect,
    data_provenance,
    evaluate,
    network,
)
from regstudio.evaluation.report.page import worst_and_best, write_report
from regstudio.methods.method import Method
from regstudio.methods.network import Registrar
from regstudio.networks.base import Precision
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.training.setup import loaders


def checkpoint_method(
    path: Path,
    device: str = "auto",
    affine: Literal["none", "auto"] | None = None,
    refine: int = 0,
    precision: Precision = "float32",
) -> Method:
    """Return a checkpoint as a method, named by its run and file, and by what is unusual about its use."""
    loaded = load_checkpoint(path)
    # An affine map that was found before would cost no time.
    registrar = Registrar(loaded, device, affine=affine, keep_affine=False, precision=precision)
    name = (
        checkpoint_name(path) + f" in {precision}" * (precision != "float32") + f" refined by {refine}" * bool(refine)
    )
    return network(registrar, name, checkpoint_provenance(path, loaded), refine=refine)


def pair_reader(config: TrainConfig, atlas: Case) -> PairReader:
    """Return what reads a case with its atlas, as the configuration says."""
    images, labels = loaders(config.reading, atlas)
    return PairReader(atlas=atlas, image_loader=images, label_loader=labels)


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
    return {
        result.pair.id: comparison(
            result.pair.id,
            result.pair.fixed,
            result.pair.moving,
            result,
            fixed_label=result.pair.fixed_label,
            moving_label=result.pair.moving_label,
        )
        for result in evaluate(method, [case for case in index.validation if case.id in shown], read)
    }


def compose(
    folder: Path, method: Method, evaluations: Sequence[Evaluation], index: DataIndex, read: PairReader
) -> Path:
    """Write the report of the first evaluation, whose method is given, beside the others; return its page."""
    worst, best = worst_and_best(evaluations[0])
    drawn = comparisons(method, {*worst, *best}, index, read)
    return write_report(folder, evaluations, worst=[drawn[case] for case in worst], best=[drawn[case] for case in best])
