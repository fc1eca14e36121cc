"""Reads an evaluation that was written as JSON before, to compare another with it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from regstudio.data.problems import FileError
from regstudio.evaluation.evaluate import Evaluation
from regstudio.evaluation.scores import CaseScores
from regstudio.schema import Name, Number, SchemaError, Text, parse, read_bytes

MAX_BYTES = 2**28  # of 100,000 cases with dozens of labels

_Scores = dict[Name, Number | None]  # null where a score could not be measured


class _Case(BaseModel):
    """A case with its columns beside what is named here."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: _Scores

    id: Name
    per_label: dict[int, _Scores]
    left_out: tuple[int, ...]
    lost: tuple[int, ...]


class _Record(BaseModel):
    """What `tables.to_json` writes, but for the statistics, which follow from the cases."""

    model_config = ConfigDict(frozen=True)

    method: Text
    unit: Literal["mm", "pixels"]
    cases: tuple[_Case, ...]
    provenance: dict[Name, Any]


_RECORD = TypeAdapter(_Record)


def read_evaluation(path: Path) -> Evaluation:
    """Return the evaluation in a file that `regstudio evaluate --json` wrote; raises FileError."""
    try:
        record = parse(read_bytes(path, MAX_BYTES), _RECORD)
    except SchemaError as error:
        what = f"is no evaluation that this version reads ({error})"
        raise FileError(path, what, "Write it anew with regstudio evaluate --json.") from None
    cases = tuple(
        CaseScores(
            id=case.id,
            unit=record.unit,
            values=_measured(case.__pydantic_extra__),
            labels={label: _measured(scores) for label, scores in case.per_label.items()},
            left_out=case.left_out,
            lost=case.lost,
        )
        for case in record.cases
    )
    return Evaluation(method=record.method, cases=cases, provenance=record.provenance)


def _measured(scores: _Scores) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items() if value is not None}
