"""One optimisation step: augmentation, prediction, loss, gradient, weight update and EMA."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.losses import Objective
from regstudio.networks.base import MIN_SIDE, RegistrationNetwork
from regstudio.networks.checkpoint import load_weights
from regstudio.networks.passes import network_size
from regstudio.training.augmentation import Augmentation
from regstudio.training.saved_state import load_optimizer
from regstudio.training.schedule import Schedule
from regstudio.training.step_batch import StepBatch, step_batch


class NotFiniteError(Exception):
    """The loss or its gradient is not finite; carries the step's `losses`, gradient `norm` and `images`."""

    def __init__(self, losses: Mapping[str, float], norm: float, images: Mapping[str, Tensor]) -> None:
        super().__init__(losses, norm)
        self.losses, self.norm, self.images = losses, norm, images


class Learner:
    """Trains a network step by step; a step depends only on the seed, its number, the batch and the current state.

    With `ema` above 0, `averaged` is the exponential moving average (EMA) of the weights, otherwise the network itself.
    `label_ids` are the labels in the Dice loss; `teacher` is the network whose fields the objective's teacher term
    compares with, and never changes. The processes of a `group` take each step together: gradients and
    losses are averaged over them, and weights and state are the same in all.
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
    ) -> None:
        self.model, self.optimizer, self.objective, self.schedule = model, optimizer, objective, schedule
        self._augmentation, self._both_directions = augmentation or Augmentation(), both_directions
        self._label_ids, self._seed, self._group = tuple(label_ids), seed, group
        self._teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self._ema_model: AveragedModel | None = None
        if ema:
            average = get_ema_multi_avg_fn(ema)  # type: ignore[no-untyped-call]
            self._ema_model = AveragedModel(model, multi_avg_fn=average)
        self._fields: Callable[..., Sequence[Tensor]] = _FieldsModule(model)
        if group.size > 1:
            self._fields = group.parallel(_FieldsModule(model))
        self._weights = list(model.parameters())

    @property
    def averaged(self) -> RegistrationNetwork:
        """The network to validate and save: the EMA of the weights, or the network itself."""
        if self._ema_model is None:
            return self.model
        return cast(RegistrationNetwork, self._ema_model.module)

    def step(self, batch: Mapping[str, Tensor], number: int) -> dict[str, float]:
        """Take step `number` on a batch on the network's device; return the named losses.

        Raises NotFiniteError, leaving weights and state unchanged, if the loss or its gradient is not finite.
        """
        if not self.model.training:
            self.model.train()
        pair = self._network_input(batch, number)
        expected = self._expected(pair)
        passes = [self._losses(pair, field, expected) for field in self._fields(pair.fixed, pair.moving, pair.affine)]
        losses = {name: torch.stack([terms[name] for terms in passes]).mean() for name in passes[0]}
        self.optimizer.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._weights if p.grad is not None])
        self._group.barrier()  # else the GPU would hang on a process that ran out of memory
        # One transfer for all numbers: each would make the CPU wait for the GPU.
        *values, norm_value = self._group.mean(torch.stack([*losses.values(), norm])).tolist()
        named = dict(zip(losses, values, strict=True))
        if not math.isfinite(named["loss"]) or not math.isfinite(norm_value):
            raise NotFiniteError(named, norm_value, {"fixed_image": pair.fixed, "moving_image": pair.moving})
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(number)
        self.optimizer.step()
        if self._ema_model is not None:
            self._ema_model.update_parameters(self.model)
        return named

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
        if self._ema_model is not None:
            state |= {"weights": self.model.state_dict(), "averaged_steps": int(self._ema_model.n_averaged)}
        if self._teacher is not None:
            state["teacher"] = self._teacher.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any], source: Path | str = "the checkpoint") -> None:
        """Restore a state from `state_dict`; `averaged` must have its weights already.

        Raises CheckpointError, naming `source`, for the state of another network.
        """
        load_optimizer(self.optimizer, state["optimizer"], source)
        if self._ema_model is not None:
            load_weights(self.model, state.get("weights", {}), source)
            self._ema_model.n_averaged.fill_(state["averaged_steps"])
        if self._teacher is not None:
            load_weights(self._teacher, state.get("teacher", {}), source)

    def _network_input(self, batch: Mapping[str, Tensor], number: int) -> StepBatch:
        """Return the batch augmented, perhaps with fixed and moving swapped, at the size that the loss is taken at.

        That is the network's working size or, without one, what the schedule says. Roughness is in pixels per pixel,
        and weighs the same at any size.
        """
        random = np.random.default_rng([self._seed, number])
        pair = step_batch(batch, self._label_ids)
        flow = self._augmentation.flow(pair.moving, random)
        pair = pair if flow is None else pair.deformed(flow)
        pair = replace(pair, moving=self._augmentation.contrast(pair.moving, random))
        if self._both_directions and random.random() < 0.5:
            pair = pair.swapped()
        full, model = pair.moving.shape[2:], self.model
        if model.network_side is not None:
            return pair.resampled(network_size(full, model.network_side, model.passes))
        scale = self.scale(number, full)
        return pair.resampled([side // scale for side in full])

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
