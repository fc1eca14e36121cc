"""Evaluate registration methods on the same labelled images, and compare two evaluations by paired tests."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from regstudio.data.folders.layout import Case, DataIndex
from regstudio.data.pairs.reader import PairReader
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.errors import DataError
from regstudio.evaluation.scores import COLUMNS, LABEL_RULE, CaseScores, score
from regstudio.evaluation.statistics import Description, PairedTest, describe, wilcoxon
from regstudio.methods.method import Method, axes_of
from regstudio.transforms.registration import Registration

CONVENTIONS = {
    "flow": "pull-back on the fixed grid in pixels, (dy, dx): warped(p) = moving(p + flow(p))",
    "labels": LABEL_RULE,
    "label_warp": "nearest neighbour",
    "distances": "mm by the fixed image's spacing where its file knows it, else pixels; landmarks and inverse by the "
    "moving image's",
    "njd": "pixels with a Jacobian determinant <= 0 by central differences, as in the training log",
    "njd_one_sided": "pixels with any of the four one-sided determinants <= 0 (Liu et al., IJCV 2024)",
    "nda": "non-diffeomorphic area, 1/4 of the sum of max(0, -determinant) over the one-sided ones (Liu et al.)",
    "sdlogj": "std(log(clip(determinant + 3, 1e-9, 1e9))), central, without two pixels at the border (Learn2Reg)",
    "quality": "1 / (1 + doubt / 0.35); doubt: how far off the best matches of MIND patches are, folds, inverse error; "
    "see regstudio.transforms.quality",
    "worst30": "mean of the worst 30 % of the cases, rounded up",
    "std": "sample standard deviation, n - 1",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseResult:
    """One case of an evaluation: the registered pair and its scores."""

    registration: Registration
    scores: CaseScores


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of one method on all cases, in order.

    `provenance` is JSON-ready: regstudio (the version), method, data and conventions.
    """

    method: str
    cases: tuple[CaseScores, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """The unit of distances: "mm" or "pixels"."""
        return self.cases[0].unit if self.cases else "pixels"

    @property
    def columns(self) -> tuple[str, ...]:
        """The COLUMNS that have a value in any case, in order."""
        return tuple(column for column in COLUMNS if any(column in case.values for case in self.cases))

    @property
    def labels(self) -> tuple[int, ...]:
        """The label ids scored in any case, sorted."""
        return tuple(sorted({label for case in self.cases for label in case.labels}))

    def values(self, column: str, label: int | None = None) -> list[float | None]:
        """Return a column's value for each case, or that of one label; None if a case lacks it."""
        if label is None:
            return [case.values.get(column) for case in self.cases]
        return [case.labels.get(label, {}).get(column) for case in self.cases]

    def describe(self, column: str, label: int | None = None) -> Description:
        """Return mean, standard deviation, median and worst 30 % of a column over the cases."""
        return describe(self.values(column, label), higher_is_better=COLUMNS[column].higher_is_better)


def evaluate(method: Method, cases: Sequence[Case], read: PairReader) -> Iterator[CaseResult]:
    """Register each case to its fixed image and yield it with its scores.

    Raises DataError, naming the file, if a case cannot be used: a mean over fewer cases would mislead.

        read = pair_reader(config.reading, index.reference)
        evaluation = collect(method, evaluate(method, index.evaluated, read))
    """
    read = read.read_by(axes_of(method))
    for case in cases:
        pair = read(case)
        registration = Registration(pair=pair, transform=method(pair))
        yield CaseResult(registration=registration, scores=score(registration))


def collect(
    method: Method, results: Iterable[CaseResult], data: Mapping[str, Any] | None = None, group: Group = SINGLE_PROCESS
) -> Evaluation:
    """Collect the results of `evaluate` into an Evaluation; `data` describes the data set (see `data_provenance`).

    `results` are those of this process's share of the cases; each process of a `group` returns the whole evaluation.

        evaluation = collect(method, evaluate(method, index.validation, read), data_provenance(index))
        evaluation.describe("dice").mean
    """
    cases = tuple(group.gather_in_order(result.scores for result in results))
    provenance = {
        "regstudio": version("regstudio"),
        "method": {"name": method.name, **method.provenance},
        "data": dict(data or {}),
        "conventions": CONVENTIONS,
    }
    return Evaluation(method=method.name, cases=cases, provenance=provenance)


def data_provenance(index: DataIndex) -> dict[str, Any]:
    """Describe a data set, JSON-ready: folder, atlas, and the case ids of the training and validation split.

    Where no pairs are set apart for validation, all are evaluated on: they are listed as "pairs".
    """
    split = {"train": index.train, "validation": index.validation}
    if not index.atlas and not index.validation:
        split = {"pairs": index.train}
    return {
        "root": str(index.root),
        "atlas": None if index.atlas is None else str(index.atlas.image),
        **{name: [case.id for case in cases] for name, cases in split.items()},
    }


def compare(first: Evaluation, second: Evaluation) -> dict[str, PairedTest]:
    """Compare two evaluations by a Wilcoxon test of each column on their common cases; differences are second - first.

    Cases are matched by id. Raises DataError if there is no common case, or if the units of distances differ.
    """
    others = {case.id: case for case in second.cases}
    pairs = [(case, others[case.id]) for case in first.cases if case.id in others]
    if not pairs:
        raise DataError(f"{first.method} and {second.method} have no case in common. Evaluate both on the same images.")
    if first.unit != second.unit:
        raise DataError(
            f"{first.method} is measured in {first.unit} and {second.method} in {second.unit}. "
            "Evaluate both on the same files."
        )
    columns = [column for column in first.columns if column in second.columns]
    return {
        column: wilcoxon([a.values.get(column) for a, _ in pairs], [b.values.get(column) for _, b in pairs])
        for column in columns
    }
