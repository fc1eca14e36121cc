"""One optimisation step: what the network is shown, what it is told, and how its weights change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.losses import Objective, SoftLabels, one_hot, scored_labels
from regstudio.networks.base import MIN_SIDE, Prediction, RegistrationNetwork
from regstudio.networks.warp import SpatialTransformer
from regstudio.training.augmentation import Augmentation
from regstudio.training.schedule import Schedule


class NotFiniteError(Exception):
    """The loss or its gradient is no finite number; `losses` and `norm` say which, `images` are those of the step."""

    def __init__(self, losses: Mapping[str, float], norm: float, images: Mapping[str, Tensor]) -> None:
        super().__init__(losses, norm)
        self.losses, self.norm, self.images = losses, norm, images


@dataclass(frozen=True, kw_only=True, eq=False)
class StepBatch:
    """What a step works on: images (B or 1, 1, H, W), and where there are any affine maps and one-hot labels."""

    fixed: Tensor
    moving: Tensor
    affine: Tensor | None = None
    fixed_label: Tensor | None = None
    moving_label: Tensor | None = None


class Learner:
    """A network that learns, step by step; a step is a function of the seed, its number, the batch and the state.

    With `ema` above 0, `averaged` is the running mean of the weights, otherwise the network itself. `label_ids` are
    those whose overlap the objective scores. The processes of a `group` take each step together: gradients and losses
    are the means over theirs, and weights and state are the same in all.
    """

    def __init__(
        self,
        model: RegistrationNetwork,
        optimizer: torch.optim.Optimizer,
        objective: Objective,
        schedule: Schedule,
        *,
        augmentation: Augmentation | None = None,
        both_directions: bool = False,
        ema: float = 0.0,
        label_ids: Sequence[int] = (),
        seed: int = 0,
        group: Group = SINGLE_PROCESS,
    ) -> None:
        self.model, self.optimizer, self.objective, self.schedule = model, optimizer, objective, schedule
        self._augmentation, self._both = augmentation or Augmentation(), both_directions
        self._label_ids, self._seed, self._group = tuple(label_ids), seed, group
        self._mean: AveragedModel | None = None
        if ema:
            average = get_ema_multi_avg_fn(ema)  # type: ignore[no-untyped-call]
            self._mean = AveragedModel(model, multi_avg_fn=average)
        self._predict = model.predict
        if group.size > 1:
            self._predict = group.parallel(_Predicting(model))
        self._weights = list(model.parameters())
        self._warp = SpatialTransformer("bilinear")

    @property
    def averaged(self) -> RegistrationNetwork:
        """The network to validate, save and use."""
        if self._mean is None:
            return self.model
        return cast(RegistrationNetwork, self._mean.module)

    def step(self, batch: Mapping[str, Tensor], number: int) -> dict[str, float]:
        """Take step `number` on a batch on the network's device; return the named losses.

        Raises NotFiniteError, with weights and state as they were, where the loss or its gradient is no number.
        """
        if not self.model.training:
            self.model.train()
        pair = self._seen(batch, number)
        prediction = self._predict(pair.fixed, pair.moving, pair.affine)
        losses = self.objective(
            pair.fixed,
            prediction.warped,
            prediction.field,
            prediction.deformation,
            self._soft_labels(pair, prediction.flow),
        )
        self.optimizer.zero_grad()
        losses["loss"].backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._weights if p.grad is not None])
        self._group.barrier()  # or the GPU would wait, and with it this process, for one that has run out of memory
        # One transfer for all numbers: each would make the CPU wait for the GPU.
        *values, norm_value = self._group.mean(torch.stack([*losses.values(), norm])).tolist()
        named = dict(zip(losses, values, strict=True))
        if not math.isfinite(named["loss"]) or not math.isfinite(norm_value):
            raise NotFiniteError(named, norm_value, {"fixed_image": pair.fixed, "moving_image": pair.moving})
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(number)
        self.optimizer.step()
        if self._mean is not None:
            self._mean.update_parameters(self.model)
        return named

    def state_dict(self) -> dict[str, Any]:
        """Return what besides the averaged weights makes the steps go on exactly."""
        if self._mean is None:
            return {"optimizer": self.optimizer.state_dict()}
        return {
            "optimizer": self.optimizer.state_dict(),
            "weights": self.model.state_dict(),
            "averaged_steps": int(self._mean.n_averaged),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` returned; `averaged` has its weights already."""
        self.optimizer.load_state_dict(dict(state["optimizer"]))
        if self._mean is not None:
            self.model.load_state_dict(state["weights"])
            self._mean.n_averaged.fill_(state["averaged_steps"])

    def _seen(self, batch: Mapping[str, Tensor], number: int) -> StepBatch:
        """What the step shows the network: the batch, varied, perhaps turned round, and made as small as it is time."""
        random = np.random.default_rng([self._seed, number])
        pair = self._varied(self._as_pair(batch), random)
        if self._both and random.random() < 0.5:
            pair = _turned(pair)
        scale = self.schedule.scale(number)
        while scale > 1 and min(pair.moving.shape[2:]) // scale < MIN_SIDE:
            scale //= 2
        return _smaller(pair, scale) if scale > 1 else pair

    def _as_pair(self, batch: Mapping[str, Tensor]) -> StepBatch:
        labels = {}
        if self._label_ids:
            labels = {name: one_hot(batch[name], self._label_ids) for name in ("fixed_label", "moving_label")}
        return StepBatch(fixed=batch["fixed_image"], moving=batch["moving_image"], affine=batch.get("affine"), **labels)

    def _varied(self, pair: StepBatch, random: np.random.Generator) -> StepBatch:
        flow, moving, label = self._augmentation.flow(pair.moving, random), pair.moving, pair.moving_label
        if flow is not None:
            moving = self._warp(moving, flow)
            label = None if label is None else self._warp(label, flow)
        return replace(pair, moving=self._augmentation.contrast(moving, random), moving_label=label)

    def _soft_labels(self, pair: StepBatch, flow: Tensor) -> SoftLabels | None:
        if pair.fixed_label is None or pair.moving_label is None:
            return None
        return SoftLabels(
            fixed=pair.fixed_label,
            warped=self._warp(pair.moving_label, flow),
            scored=scored_labels(pair.fixed_label, pair.moving_label),
        )


class _Predicting(nn.Module):
    """A network whose forward is `predict`, all that DistributedDataParallel calls."""

    def __init__(self, model: RegistrationNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, fixed: Tensor, moving: Tensor, affine: Tensor | None) -> Prediction:
        return self.model.predict(fixed, moving, affine)


def _turned(pair: StepBatch) -> StepBatch:
    """The pair with fixed and moving exchanged."""
    affine = pair.affine
    if affine is not None:
        linear = torch.linalg.inv(affine[:, :, :2])
        affine = torch.cat((linear, -linear @ affine[:, :, 2:]), dim=2)
    label = pair.fixed_label
    if label is not None and pair.moving_label is not None:
        label = label.expand_as(pair.moving_label)
    return StepBatch(
        fixed=pair.moving,
        moving=pair.fixed.expand_as(pair.moving),
        affine=affine,
        fixed_label=pair.moving_label,
        moving_label=label,
    )


def _smaller(pair: StepBatch, scale: int) -> StepBatch:
    """The pair at 1 / `scale` of its size; labels become shares of each pixel."""
    affine = pair.affine
    if affine is not None:
        # The centre of pixel i of the small grid is at scale * i + (scale - 1) / 2 of the large one.
        centre = affine.new_full((2, 1), (scale - 1) / 2)
        shift = (affine[:, :, :2] @ centre + affine[:, :, 2:] - centre) / scale
        affine = torch.cat((affine[:, :, :2], shift), dim=2)
    fixed, moving, fixed_label, moving_label = (
        None if maps is None else F.avg_pool2d(maps, scale)
        for maps in (pair.fixed, pair.moving, pair.fixed_label, pair.moving_label)
    )
    assert fixed is not None
    assert moving is not None
    return StepBatch(fixed=fixed, moving=moving, affine=affine, fixed_label=fixed_label, moving_label=moving_label)
