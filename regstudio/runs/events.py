"""The events of a training, as frozen dataclasses of plain values."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The training starts or resumes; `epoch` and `step` count what is already done.

    `scale_steps` is how many steps of the whole training are taken at each image scale, from coarse to fine: a scale of
    4 means images a fourth as wide. Empty in records of older versions.
    """

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
    scale_steps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImageAligned:
    """The affine map of image `number` of `total` was found; all come before the first step."""

    number: int
    total: int
    image: str


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One optimisation step; `step` counts within `epoch`, `losses` holds the named terms and their weighted sum.

    Its images were `scale` times smaller than the data; losses of different scales cannot be compared.
    """

    epoch: int
    step: int
    losses: dict[str, float]
    seconds: float
    scale: int = 1


@dataclass(frozen=True, kw_only=True)
class PairValidated:
    """Validation pair `number` of `total` was scored; `dice` is None if it has no labels to score."""

    epoch: int
    number: int
    total: int
    case: str
    dice_before: float | None
    dice: float | None
    njd_percent: float


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """An epoch ended: mean losses of its steps, mean metrics of the validation pairs (empty without validation).

    The metrics are dice_before, dice, njd, njd_percent and dice_ID for each label. `scale` is that of its first
    step, the coarsest.
    """

    epoch: int
    epochs: int
    seconds: float
    losses: dict[str, float]
    metrics: dict[str, float] = field(default_factory=dict)
    best: bool = False
    scale: int = 1


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint was saved at `path`; `step` counts within the epoch after `epoch`, 0 at the end of an epoch."""

    path: str
    epoch: int
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class PreviewSaved:
    """The registration of the preview's pair after `epoch` was saved at `path`: see Run.preview_path."""

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
        case ImageAligned():
            return 0, 0
        case RunFinished():
            return math.inf, 0


def event_to_dict(event: TrainEvent) -> dict[str, Any]:
    """Return the event as JSON-ready values, its name under "event"."""
    return {"event": type(event).__name__, **asdict(event)}


def event_from_dict(record: dict[str, Any]) -> TrainEvent:
    """Return the event of an `event_to_dict` record; ignores "time". Raises KeyError or TypeError for other records."""
    values = {name: value for name, value in record.items() if name not in ("event", "time")}
    return _TYPES[record["event"]](**values)
