"""What a training says while it runs: facts, in the order they happened, as plain values."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The trainer is about to take its first step; `epoch` and `step` count what is already done."""

    run: str
    device: str
    parameters: int
    train_cases: int
    validation_cases: int
    epochs: int
    steps_per_epoch: int
    epoch: int
    step: int
    resumed: bool


@dataclass(frozen=True, kw_only=True)
class ImageAligned:
    """The affine map of an image, number `number` of `total`, is known; this comes before the first step."""

    number: int
    total: int
    image: str


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One optimisation step; `step` counts within `epoch`, `losses` are the named terms and their weighted total."""

    epoch: int
    step: int
    losses: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PairValidated:
    """One validation pair, number `number` of `total`; `dice` is None where there is nothing to score."""

    epoch: int
    number: int
    total: int
    case: str
    dice_before: float | None
    dice: float | None
    njd_percent: float


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """One epoch with its means over steps and validation pairs; `metrics` is empty where it was not validated.

    The metrics are dice_before, dice, njd, njd_percent and dice_ID for each label.
    """

    epoch: int
    epochs: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint lies at `path`; `step` counts within the epoch after `epoch`, 0 at the end of an epoch."""

    path: str
    epoch: int
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class PreviewSaved:
    """How the network of `epoch` registers the preview's pair lies at `path`: see Run.preview_path."""

    path: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The last event of a run: "finished", "stopped" by the user, or "failed"; `message` is for the user."""

    reason: Literal["finished", "stopped", "failed"]
    message: str


TrainEvent = (
    RunStarted | ImageAligned | StepDone | PairValidated | EpochDone | CheckpointSaved | PreviewSaved | RunFinished
)
_TYPES: dict[str, type[TrainEvent]] = {kind.__name__: kind for kind in get_args(TrainEvent)}


def progress(event: TrainEvent) -> tuple[float, float]:
    """Return what is done once `event` has happened: (whole epochs, steps of the next one)."""
    match event:
        case StepDone():
            return event.epoch - 1, event.step
        case PairValidated():
            return event.epoch - 1, math.inf
        case EpochDone() | PreviewSaved():
            return event.epoch, 0
        case RunStarted() | CheckpointSaved():
            return event.epoch, event.step
        case ImageAligned():
            return 0, 0
        case RunFinished():
            return math.inf, 0


def event_to_dict(event: TrainEvent) -> dict[str, Any]:
    """Return the event as JSON-ready values, its name under "event"."""
    return {"event": type(event).__name__, **asdict(event)}


def event_from_dict(record: dict[str, Any]) -> TrainEvent:
    """Return the event that `event_to_dict` recorded; "time", which a run adds, is passed over."""
    values = {name: value for name, value in record.items() if name not in ("event", "time")}
    return _TYPES[record["event"]](**values)
