"""What a checkpoint holds to go on training from, checked before it reaches an optimizer or a loop."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, Strict, TypeAdapter
from torch import Tensor

from regstudio.errors import CheckpointError
from regstudio.networks.checkpoint import Checkpoint
from regstudio.networks.checkpoint_file import check_weights
from regstudio.schema import Count, Name, Number, SchemaError, Seconds, Text, validate

_ADAM = {"step", "exp_avg", "exp_avg_sq"}  # what torch's Adam keeps of each parameter


@dataclass(frozen=True, kw_only=True)
class State:
    """The progress of a training, saved with weights and optimizer so that resuming is exact.

    `epoch` whole epochs and `step` steps of the next one are done. `sums` adds up the losses of those steps, `seconds`
    their duration. `best_dice` is the highest Dice so far; where another metric decides, `best_by`, `best_score` is its
    best, such that more is better.
    """

    epoch: Count
    step: Count = 0
    sums: Mapping[Name, Number] = field(default_factory=dict)
    seconds: Seconds = 0.0
    best_dice: Annotated[float, Strict(), Field(le=1.01)] = -math.inf
    best_score: Annotated[float, Strict(), Field(le=1e12)] = -math.inf
    best_by: Literal["", "tre", "similarity"] = ""

    def rescaled(self, steps_per_epoch: int, saved_steps_per_epoch: int) -> "State":
        """Return this state for an epoch of another length, as after a change of the number of processes.

        The finished share of the epoch stays the same, rounded down to a whole step.
        """
        if steps_per_epoch == saved_steps_per_epoch:
            return self
        step = self.step * steps_per_epoch // saved_steps_per_epoch
        sums = {name: total * step / self.step for name, total in self.sums.items()} if step else {}
        return replace(self, step=step, sums=sums)


@dataclass(frozen=True, kw_only=True)
class SavedTraining:
    """The part `training` of a checkpoint.

    `cases` is a digest of the training images; `weights` and `averaged_steps` are there where the checkpoint's own
    weights are a running mean, `teacher` where the training has one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    state: State
    optimizer: Mapping[Name, Any]
    cases: Text = ""
    steps_per_epoch: Annotated[Count, Field(ge=1)] | None = None
    weights: Mapping[Name, Tensor] | None = None
    teacher: Mapping[Name, Tensor] | None = None
    averaged_steps: Count = 0


_SAVED_TRAINING = TypeAdapter(SavedTraining)


def saved_training(checkpoint: Checkpoint, source: Path) -> SavedTraining:
    """Return what a checkpoint holds to go on from; raises CheckpointError, naming `source`, if it cannot be used."""
    if "optimizer" not in checkpoint.training:
        raise CheckpointError(f"{source}: holds no optimizer to go on with. Start a new run with --load_model {source}")
    try:
        saved = validate(checkpoint.training, _SAVED_TRAINING)
        check_weights(saved.weights or {})
        check_weights(saved.teacher or {})
    except SchemaError as error:
        raise CheckpointError(f"{source}: cannot be gone on with ({error}). {_remedy(source)}") from None
    return saved


def load_optimizer(optimizer: torch.optim.Adam, saved: Mapping[str, Any], source: Path | str) -> None:
    """Give an optimizer the moments in `saved`, a state_dict; its own settings, such as betas, stay as they are.

    Raises CheckpointError, naming `source`, for moments that are not those of the optimizer's parameters: its native
    code would read beyond them.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments = saved.get("state")
    try:
        if not isinstance(moments, dict) or not moments.keys() <= set(range(len(parameters))):
            raise SchemaError("it is that of another network")
        for number, entry in moments.items():
            _check_moments(number, entry, parameters[number])
    except SchemaError as error:
        raise CheckpointError(f"{source}: its optimizer cannot be gone on with: {error}. {_remedy(source)}") from None
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _check_moments(number: int, entry: object, parameter: Tensor) -> None:
    if not isinstance(entry, dict) or entry.keys() != _ADAM or not all(isinstance(v, Tensor) for v in entry.values()):
        raise SchemaError(f"parameter {number} has not the state that Adam keeps")
    for name, tensor in entry.items():
        shape = () if name == "step" else parameter.shape
        if tensor.shape != shape or tensor.dtype not in (torch.float32, parameter.dtype):
            what = f"{tuple(tensor.shape)} of {tensor.dtype}, not {tuple(shape)} of {parameter.dtype}"
            raise SchemaError(f"{name} of parameter {number} is {what}")
        if not torch.isfinite(tensor).all() or (name != "exp_avg" and (tensor < 0).any()):
            raise SchemaError(f"{name} of parameter {number} holds values that it cannot have")


def _remedy(source: Path | str) -> str:
    return f"Start a new run from its weights with --load_model {source}"
