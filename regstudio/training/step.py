"""One optimisation step: augmentation, prediction, loss, gradient, weight update and EMA."""

import math
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.losses import Objective
from regstudio.networks.base import MIN_SIDE, RegistrationNetwork
from regstudio.networks.checkpoint import load_weights
from regstudio.networks.passes import network_size
from regstudio.networks.replay import Replayed
from regstudio.training.augmentation import Augmentation, drawn_contrast, drawn_flow
from regstudio.training.saved_state import load_optimizer
from regstudio.training.schedule import Schedule
from regstudio.training.step_batch import StepBatch, step_batch

Terms = tuple[tuple[str, ...], Tensor]


class NotFiniteError(Exception):
    """The loss or its gradient is not finite; carries the step's `losses`, gradient `norm` and `images`."""

    def __init__(self, losses: Mapping[str, float], norm: float, images: Mapping[str, Tensor]) -> None:
        super().__init__(losses, norm)
        self.losses, self.norm, self.images = losses, norm, images


class Kind(NamedTuple):
    """What makes one step another sequence of operations: image scale, direction, and whether it is the first."""

    scale: int
    swapped: bool
    first: bool


@dataclass(kw_only=True, eq=False)
class Begun:
    """A step that was begun: its number, what it sees, and its losses, which are there once it is `ready`."""

    number: int
    kind: Kind
    inputs: Mapping[str, Tensor]
    terms: Terms = ((), torch.empty(0))
    ready: torch.cuda.Event | None = None


class Learner:
    """Trains a network step by step; a step depends only on the seed, its number, the batch and the current state.

    With `ema` above 0, `averaged` is the exponential moving average (EMA) of the weights, otherwise the network itself.
    `label_ids` are the labels in the Dice loss; `teacher` is the network whose fields the objective's teacher term
    compares with, and never changes. The processes of a `group` take each step together: gradients and
    losses are averaged over them, and weights and state are the same in all.

    So many `steps_ahead` may be begun before the first of them is finished, but not in a group: a GPU then never waits
    for the CPU. The optimizer must be a fused one.
    """

    def __init__(
        self,
        model: RegistrationNetwork,
        optimizer: torch.optim.Adam,
        objective: Objective,
        schedule: Schedule,
        *,
        augmentation: Augmentation | None = None,
        both_directions: bool = False,
        ema: float = 0.0,
        label_ids: Sequence[int] = (),
        teacher: RegistrationNetwork | None = None,
        seed: int = 0,
        group: Group = SINGLE_PROCESS,
        steps_ahead: int = 0,
    ) -> None:
        self.model, self.optimizer, self.objective, self.schedule = model, optimizer, objective, schedule
        self._augmentation, self._both_directions = augmentation or Augmentation(), both_directions
        self._label_ids, self._seed, self._group = tuple(label_ids), seed, group
        self._teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self._ema, self._averaged = ema, deepcopy(model) if ema else None
        self._averaged_steps = 0
        self._fields: Callable[..., Sequence[Tensor]] = _FieldsModule(model)
        if group.size > 1:
            self._fields = group.parallel(_FieldsModule(model))
        self._weights = list(model.parameters())
        device = self._weights[0].device
        # On a GPU, as numbers that are no part of the program: the learning rate, and 1 once a step was not finite.
        self._rate, self._failed = torch.zeros((), device=device), torch.zeros((), device=device)
        self.ahead = steps_ahead * (group.size == 1)
        self.replayed = Replayed(self._whole_step)
        if self.ahead:
            optimizer.found_inf = self._failed  # type: ignore[attr-defined]  # as GradScaler has it: if 1, no update

    @property
    def averaged(self) -> RegistrationNetwork:
        """The network to validate and save: the EMA of the weights, or the network itself."""
        return self.model if self._averaged is None else self._averaged

    def step(self, batch: Mapping[str, Tensor], number: int) -> dict[str, float]:
        """Take step `number` on a batch, on any device; return the named losses.

        Raises NotFiniteError, leaving weights and state unchanged, if the loss or its gradient is not finite.
        """
        return self.finish(self.begin(batch, number))

    def begin(self, batch: Mapping[str, Tensor], number: int) -> Begun:
        """Begin step `number`; on a GPU, it is then on its way, and other steps may be begun before it is finished."""
        if not self.model.training:
            self.model.train()
        kind, inputs = self._drawn(batch, number)
        begun = Begun(number=number, kind=kind, inputs=inputs)
        if not self.ahead:
            begun.terms = self._gradient(kind, inputs)
            return begun
        self._rate.fill_(self.schedule.learning_rate(number))
        names, values = self.replayed(kind, inputs)
        begun.terms = names, values.to("cpu", non_blocking=True)
        if values.is_cuda:
            begun.ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            begun.ready.record()
        self._averaged_steps += 1
        return begun

    def finish(self, begun: Begun) -> dict[str, float]:
        """Return the named losses of a step; steps are finished in the order in which they were begun.

        Raises NotFiniteError if the loss or its gradient is not finite. Weights and state are then those before that
        step: steps begun after it changed nothing, and are not to be finished.
        """
        names, values = begun.terms
        if begun.ready is not None:
            begun.ready.synchronize()
        if not self.ahead:
            self._group.barrier()  # else the GPU would hang on a process that ran out of memory
            values = self._group.mean(values)
        # One transfer for all numbers: each would make the CPU wait for the GPU.
        *numbers, norm = values.tolist()
        named = dict(zip(names, numbers, strict=True))
        if not all(map(math.isfinite, (*numbers, norm))):
            self._failed.zero_()
            pair = self._network_input(begun.kind, begun.inputs)
            raise NotFiniteError(named, norm, {"fixed_image": pair.fixed, "moving_image": pair.moving})
        if not self.ahead:
            self._update(self.schedule.learning_rate(begun.number))
            self._averaged_steps += 1
        return named

    def _gradient(self, kind: Kind, inputs: Mapping[str, Tensor]) -> Terms:
        """Set the gradients of the weights; return the names of the losses, and their values with the norm as last."""
        pair = self._network_input(kind, inputs)
        expected = self._expected(pair)
        passes = [self._losses(pair, field, expected) for field in self._fields(pair.fixed, pair.moving, pair.affine)]
        losses = {name: torch.stack([terms[name] for terms in passes]).mean() for name in passes[0]}
        self.optimizer.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._weights if p.grad is not None])
        return tuple(losses), torch.stack([*losses.values(), norm]).detach()

    def _update(self, rate: float | Tensor) -> None:
        """Change the weights, and their running mean."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        if self._averaged is None:
            return
        mean: list[Tensor] = list(self._averaged.parameters())
        weights: list[Tensor] = list(self._weights)
        with torch.no_grad():
            if not self._averaged_steps:
                torch._foreach_copy_(mean, weights)
                return
            change = torch._foreach_sub(weights, mean)
            torch._foreach_mul_(change, (1 - self._ema) * (1 - self._failed))
            torch._foreach_add_(mean, change)

    def _whole_step(self, kind: Hashable, inputs: Mapping[str, Tensor]) -> Terms:
        """Take a step without a look at its numbers: from one that is not finite on, weights and state stay."""
        names, values = self._gradient(cast(Kind, kind), inputs)
        finite = values.isfinite().all()
        self._failed.copy_(torch.maximum(self._failed, (~finite).float()))
        self._update(self._rate)
        return names, values

    def scale(self, number: int, size: Sequence[int]) -> int:
        """Return how many times smaller than `size` (H, W) the images of step `number` are."""
        scale = self.schedule.scale(number)
        while scale > 1 and min(size) // scale < MIN_SIDE:
            scale //= 2
        return scale

    def scale_steps(self, total: int, size: Sequence[int]) -> dict[str, int]:
        """Return how many of `total` steps are taken at each image scale, from coarse to fine."""
        counts: dict[str, int] = {}
        first = 0
        while first < total:
            scale = self.scale(first, size)
            end = bisect_right(range(total), -scale, lo=first, key=lambda step: -self.scale(step, size))
            counts[str(scale)], first = end - first, end
        return counts

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs besides the averaged weights."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self._averaged is not None:
            state |= {"weights": self.model.state_dict(), "averaged_steps": self._averaged_steps}
        if self._teacher is not None:
            state["teacher"] = self._teacher.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any], source: Path | str = "the checkpoint") -> None:
        """Restore a state from `state_dict`; `averaged` must have its weights already.

        Raises CheckpointError, naming `source`, for the state of another network.
        """
        load_optimizer(self.optimizer, state["optimizer"], source)
        self.replayed.forget()
        if self._averaged is not None:
            load_weights(self.model, state.get("weights", {}), source)
            self._averaged_steps = int(state["averaged_steps"])
        if self._teacher is not None:
            load_weights(self._teacher, state.get("teacher", {}), source)

    def _drawn(self, batch: Mapping[str, Tensor], number: int) -> tuple[Kind, dict[str, Tensor]]:
        """Draw the random numbers of a step: return of which kind it is, and what it sees, on the network's device."""
        random, moving = np.random.default_rng([self._seed, number]), batch["moving_image"]
        drawn = self._augmentation.draw(moving, random)
        swapped = self._both_directions and random.random() < 0.5
        kind = Kind(self.scale(number, moving.shape[2:]), bool(swapped), first=not self._averaged_steps)
        device = self._rate.device
        return kind, {name: tensor.to(device, non_blocking=True) for name, tensor in {**batch, **drawn}.items()}

    def _network_input(self, kind: Kind, inputs: Mapping[str, Tensor]) -> StepBatch:
        """Return the batch augmented, perhaps with fixed and moving swapped, at the size that the loss is taken at.

        That is the network's working size or, without one, what the schedule says. Roughness is in pixels per pixel,
        and weighs the same at any size.
        """
        pair = step_batch(inputs, self._label_ids)
        flow = drawn_flow(pair.moving, inputs)
        pair = pair if flow is None else pair.deformed(flow)
        pair = replace(pair, moving=drawn_contrast(pair.moving, inputs))
        if kind.swapped:
            pair = pair.swapped()
        full, model = pair.moving.shape[2:], self.model
        if model.network_side is not None:
            return pair.resampled(network_size(full, model.network_side, model.passes))
        return pair.resampled([side // kind.scale for side in full])

    @torch.no_grad()
    def _expected(self, pair: StepBatch) -> Tensor | None:
        """Return the field that the teacher gives for a pair."""
        if self._teacher is None:
            return None
        *_, field = self._teacher.fields(pair.fixed, pair.moving, pair.affine)
        return field

    def _losses(self, pair: StepBatch, field: Tensor, expected: Tensor | None) -> dict[str, Tensor]:
        """Return the named losses of the field after one of the network's passes."""
        made = self.model.follow(field, pair.moving, pair.affine)
        losses: dict[str, Tensor] = self.objective(
            pair.fixed,
            made.warped,
            made.field,
            made.deformation,
            pair.soft_labels(made.flow),
            expected,
            landmarks=pair.landmarks(made.flow),
            mask=pair.mask(made.flow),
        )
        return losses


class _FieldsModule(nn.Module):
    """Makes `fields` the forward call, the only one that DistributedDataParallel wraps."""

    def __init__(self, model: RegistrationNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, fixed: Tensor, moving: Tensor, affine: Tensor | None) -> list[Tensor]:
        return list(self.model.fields(fixed, moving, affine))
