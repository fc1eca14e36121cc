"""The events of a training, as frozen dataclasses of plain values within bounds, which hold where they are read."""

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, Strict, TypeAdapter

from regstudio.schema import Count, Name, Number, SchemaError, Seconds, Text, validate


def _without_null(values: object) -> object:
    """Leave out what was not finite when it was written: JSON has no NaN."""
    return {name: value for name, value in values.items() if value is not None} if isinstance(values, dict) else values


Place = Annotated[int, Strict(), Field(ge=0, le=10**9)]  # an epoch, or a step within one
Scale = Annotated[int, Strict(), Field(ge=1, le=8)]
Flag = Annotated[bool, Strict()]
Losses = Annotated[dict[Name, Number], BeforeValidator(_without_null), Field(max_length=64)]
Metrics = Annotated[dict[Name, Number], BeforeValidator(_without_null), Field(max_length=10_000)]


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The training starts or resumes; `epoch` and `step` count what is already done.

    `scale_steps` is how many steps of the whole training are taken at each image scale, from coarse to fine: a scale of
    4 means images a fourth as wide. Empty in records of older versions.
    """

    run: Text
    device: Text
    parameters: Count
    train_cases: Place
    validation_cases: Place
    epochs: Place
    steps_per_epoch: Place
    epoch: Place
    step: Place
    resumed: Flag
    scale_steps: dict[Annotated[str, Field(pattern="^[1248]$")], Count] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PairsExamined:
    """Before the first step, the general network looked at `pairs` pairs; see regstudio.training.examination.

    `other_kinds` of them are no two images of one kind; `shift` is the mean displacement, as a share of the shorter
    side, by the affine maps that lay the others on each other.
    """

    pairs: Place
    other_kinds: Place
    shift: Number


@dataclass(frozen=True, kw_only=True)
class ImageAligned:
    """The affine map of image `number` of `total` was found; all come before the first step."""

    number: Place
    total: Place
    image: Text


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One optimisation step; `step` counts within `epoch`, `losses` holds the named terms and their weighted sum.

    Its images were `scale` times smaller than the data; losses of different scales cannot be compared.
    """

    epoch: Place
    step: Place
    losses: Losses
    seconds: Seconds
    scale: Scale = 1


@dataclass(frozen=True, kw_only=True)
class PairValidated:
    """Validation pair `number` of `total` was scored; `dice` is None without labels, `tre` without landmarks."""

    epoch: Place
    number: Place
    total: Place
    case: Text
    dice_before: Number | None
    dice: Number | None
    njd_percent: Number
    tre: Number | None = None


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """An epoch ended: mean losses of its steps, mean metrics of the validation pairs (empty without validation).

    The metrics are dice_before, dice, njd, njd_percent, sdlogj and dice_ID for each label; with landmarks tre_before
    and tre, in pixels, and tre_mm_before and tre_mm; without either, similarity_before and similarity. `best_by` is the
    metric that decides whether it is the best. `scale` is that of its first step, the coarsest.
    """

    epoch: Place
    epochs: Place
    seconds: Seconds
    losses: Losses
    metrics: Metrics = field(default_factory=dict)
    best: Flag = False
    best_by: Literal["", "dice", "tre", "similarity"] = ""
    scale: Scale = 1


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint was saved at `path`; `step` counts within the epoch after `epoch`, 0 at the end of an epoch."""

    path: Text
    epoch: Place
    step: Place = 0


@dataclass(frozen=True, kw_only=True)
class PreviewSaved:
    """The registration of the preview's pair after `epoch` was saved at `path`: see Run.preview_path."""

    path: Text
    epoch: Place


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The last event of a run: "finished", "stopped" by the user, or "failed"; `message` is for the user."""

    reason: Literal["finished", "stopped", "failed"]
    message: Text


TrainEvent = (
    RunStarted
    | PairsExamined
    | ImageAligned
    | StepDone
    | PairValidated
    | EpochDone
    | CheckpointSaved
    | PreviewSaved
    | RunFinished
)
_TYPES: dict[str, TypeAdapter[TrainEvent]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(TrainEvent)}


def training_position(event: TrainEvent) -> tuple[float, float]:
    """Return the position after `event`: (finished epochs, steps of the next one)."""
    match event:
        case StepDone():
            return event.epoch - 1, event.step
        case PairValidated():
            return event.epoch - 1, math.inf
        case EpochDone() | PreviewSaved():
            return event.epoch, 0
        case RunStarted() | CheckpointSaved():
            return event.epoch, event.step
        case PairsExamined() | ImageAligned():
            return 0, 0
        case RunFinished():
            return math.inf, 0


def event_to_dict(event: TrainEvent) -> dict[str, Any]:
    """Return the event as JSON-ready values, its name under "event"."""
    return {"event": type(event).__name__, **asdict(event)}


def event_from_dict(record: object) -> TrainEvent:
    """Return the event of an `event_to_dict` record; ignores what else it holds. Raises SchemaError if it is none."""
    kind = record.get("event") if isinstance(record, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        raise SchemaError("it is no event")
    return validate(record, _TYPES[kind])
