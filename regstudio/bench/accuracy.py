"""Benchmark of accuracy: all methods on the same cases of several data sets, scored as `regstudio evaluate` does."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regstudio.bench.contenders import CONTENDERS, Contender, Watch, Workshop
from regstudio.config import TrainConfig, build_config
from regstudio.data.folders.layout import DataIndex
from regstudio.data.pairs.reader import PairReader
from regstudio.errors import ConfigError, DataError, RegStudioError
from regstudio.evaluation.evaluate import Evaluation
from regstudio.evaluation.report.compose import measure
from regstudio.evaluation.scores import COLUMNS
from regstudio.evaluation.tables import title
from regstudio.files import temporary_folder
from regstudio.training.setup import check_data, pair_reader

MEASURES = ("dice", "tre")  # where there are labels, and where there are landmarks; else the images' similarity


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """One method on one data set by one measure, such as "Dice" or "TRE (pixels)".

    `mean`, `worst30` (see `describe`), `values` and `ids` are of the cases; `worse` is the share of the cases that are
    worse than before registration. Folds are the mean share of folded pixels, in percent; `seconds` is for a pair.
    """

    data: str
    method: str
    title: str
    measure: str
    column: str
    mean: float
    worst30: float
    worse: float
    folds_percent: float
    seconds: float
    training_seconds: float | None
    ids: tuple[str, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What could not be measured, and why: a method, a data set, or a method on a data set."""

    data: str | None
    method: str | None
    reason: str

    def __str__(self) -> str:
        """One line."""
        what = ", ".join(name for name in (self.data, self.method) if name)
        return f"{what}: left out: " + " ".join(self.reason.split())


@dataclass(frozen=True, kw_only=True, eq=False)
class _DataSet:
    """A data folder, the cases of it that are measured, and their reader."""

    name: str
    index: DataIndex
    measured: DataIndex
    read: PairReader


def chosen(names: Sequence[str]) -> dict[str, Contender]:
    """Return the contenders of these names in the order of the table, or all; raises ConfigError for another name."""
    for name in names:
        if name not in CONTENDERS:
            raise ConfigError(f"methods: there is no {name!r}. Choose some of {', '.join(CONTENDERS)}.")
    return {name: contender for name, contender in CONTENDERS.items() if not names or name in names}


def compare_accuracy(
    folders: Sequence[Path],
    contenders: dict[str, Contender],
    *,
    cases: int | None = None,
    device: str = "auto",
    watch: Watch = lambda items, total, what: items,
) -> Iterator[Accuracy | LeftOut]:
    """Measure each method on the validation cases of each data folder, or on all pairs; yield what is measured.

    Takes the first `cases` of each folder. What fails is yielded as LeftOut, and the rest goes on.
    """
    usable = dict(contenders)
    for name, contender in contenders.items():
        try:
            contender.check()
        except RegStudioError as error:
            del usable[name]
            yield LeftOut(data=None, method=name, reason=str(error))
    with temporary_folder() as scratch:
        workshop = Workshop(device, scratch, watch)
        for folder in folders:
            try:
                data = _open(folder, cases)
            except RegStudioError as error:
                yield LeftOut(data=folder.resolve().name, method=None, reason=str(error))
                continue
            for name, contender in usable.items():
                try:
                    yield from _measured(name, contender, workshop, data, watch)
                except Exception as error:
                    reason = str(error) if isinstance(error, RegStudioError) else f"{type(error).__name__}: {error}"
                    yield LeftOut(data=data.name, method=name, reason=reason)


def _open(folder: Path, cases: int | None) -> _DataSet:
    config: TrainConfig = build_config({"data_base_dir": folder})
    index = check_data(config).index
    if index.reference is None or not index.evaluated:
        raise DataError("there are neither an atlas with validation images nor pairs to evaluate on")
    read = pair_reader(config.reading, index.reference, with_points=True)
    measured = replace(index, validation=index.evaluated[:cases])
    return _DataSet(name=folder.resolve().name, index=index, measured=measured, read=read)


def _measured(name: str, contender: Contender, workshop: Workshop, data: _DataSet, watch: Watch) -> Iterator[Accuracy]:
    made = contender.make(workshop, data.index)
    total = len(data.measured.evaluated)
    evaluation = measure(
        made.method, data.measured, data.read, lambda results: watch(results, total, f"{data.name}, {name}")
    )
    columns = [column for column in MEASURES if column in evaluation.columns] or ["ncc"]
    for column in columns:
        described = evaluation.describe(column)
        if described.mean is None or described.worst30 is None:
            raise DataError("no case could be scored")
        yield Accuracy(
            data=data.name,
            method=name,
            title=contender.title,
            measure=title(COLUMNS[column], evaluation.unit),
            column=column,
            mean=described.mean,
            worst30=described.worst30,
            worse=_share_worse(evaluation, column),
            folds_percent=evaluation.describe("njd_percent").mean or 0.0,
            seconds=evaluation.describe("seconds").mean or 0.0,
            training_seconds=made.training_seconds,
            ids=tuple(case.id for case in evaluation.cases),
            values=tuple(evaluation.values(column)),
        )


def _share_worse(evaluation: Evaluation, column: str) -> float:
    """Return the share of the cases that are worse after registration than before, beyond rounding."""
    sign = 1 if COLUMNS[column].higher_is_better else -1
    pairs = zip(evaluation.values(COLUMNS[column].column("before")), evaluation.values(column), strict=True)
    gains = [sign * (after - before) for before, after in pairs if before is not None and after is not None]
    return sum(gain < 0 and not math.isclose(gain, 0, abs_tol=1e-6) for gain in gains) / max(1, len(gains))
