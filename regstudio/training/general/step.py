"""One step of the general network's training, and what it is measured by."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from regstudio.config import TrainConfig
from regstudio.errors import RunError, TrainingError
from regstudio.losses import Grad, SoftDice, scored_labels
from regstudio.metrics import njd
from regstudio.networks.base import RegistrationNetwork
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, load_weights
from regstudio.networks.device import find_device
from regstudio.networks.passes import coarse_to_fine
from regstudio.networks.warp import SpatialTransformer, integrate
from regstudio.training.saved_state import State, load_optimizer, saved_training
from regstudio.training.synthesis import SyntheticPair, draw_size, synthesise

# The passes of a step, by their scales, and how often each is taken.
PASSES = ((4, 2, 1), (2, 1), (1,), (2, 1, 1))
PASS_SHARES = (0.65, 0.15, 0.15, 0.05)
# So many steps, at first, are on pairs whose shorter side is so short: most is learned from them, in half the time.
SMALL_STEPS, SMALL_SIDE = 30_000, 64
FLOW_WEIGHT = 0.05  # of the error in percent of the shorter side: 4 pixels of 128 weigh as much as 0.16 of Dice
MAX_NORM = 1.0  # of the gradient
FALL = 0.1  # the learning rate falls over this last share of the steps
MIN_RATE = 0.02  # to this share of itself
HELD_OUT_SEED = 2**63  # one that no training can have

_warp = SpatialTransformer("bilinear")


class Learner:
    """The network, its optimizer and the running mean of its weights."""

    def __init__(self, config: TrainConfig) -> None:
        settings = config.optimisation
        torch.manual_seed(settings.seed)
        self.device = find_device(settings.device)
        network = build_network(**config.network.model_dump())
        if settings.load_model:
            load_weights(network, load_checkpoint(settings.load_model).weights, settings.load_model)
        self.network = network.to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.lr, fused=True)
        self._mean = AveragedModel(self.network, multi_avg_fn=_running_mean(settings.ema))
        self._config, self._dice, self._grad = config, SoftDice(), Grad(config.loss.grad_penalty)

    @property
    def averaged(self) -> RegistrationNetwork:
        """The network to validate, save and use."""
        return cast(RegistrationNetwork, self._mean.module)

    def step(self, number: int) -> dict[str, float]:
        """Take a step; return the named losses. Raises TrainingError where the gradient is no finite number."""
        seed = self._config.optimisation.seed
        random = np.random.default_rng([seed, number, 1])
        size = draw_size(random, SMALL_SIDE if number < SMALL_STEPS else None)
        pair = on_device(synthesise(seed, number, size), self.device)
        scales = PASSES[random.choice(len(PASSES), p=PASS_SHARES)]
        self.network.train()
        passes = [
            self._losses(pair, velocity) for velocity in coarse_to_fine(self.network, pair.fixed, pair.moving, scales)
        ]
        losses = {name: torch.stack([terms[name] for terms in passes]).mean() for name in passes[0]}
        self.optimizer.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        *values, norm_value = torch.stack([*losses.values(), norm]).tolist()
        if not math.isfinite(norm_value):
            raise TrainingError(f"Step {number + 1}: the gradient is not finite. What was saved before is still good.")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._config, number)
        self.optimizer.step()
        self._mean.update_parameters(self.network)
        return dict(zip(losses, values, strict=True))

    def _losses(self, pair: SyntheticPair, velocity: Tensor) -> dict[str, Tensor]:
        """The terms at the size of a pass, and their sum."""
        seen = smaller(pair, pair.fixed.shape[2] // velocity.shape[2])
        flow = integrate(velocity)
        weights = self._config.loss
        terms = {
            "dice_loss": self._overlap_loss(seen, flow),
            "grad": self._grad(velocity),
            "flow_error": relative_error(seen, flow),
        }
        total = weights.dice_weight * terms["dice_loss"] + weights.grad_weight * terms["grad"]
        return {"loss": total + FLOW_WEIGHT * terms["flow_error"], **terms}

    def _overlap_loss(self, pair: SyntheticPair, flow: Tensor) -> Tensor:
        """One minus the Dice of the labels, where they are known to meet."""
        fixed, warped = pair.fixed_label * pair.known, _warp(pair.moving_label, flow) * pair.known
        loss: Tensor = self._dice(fixed, warped, scored_labels(fixed, pair.moving_label))
        return loss

    def scores(self, number: int) -> dict[str, float]:
        """Return how the averaged network registers a held-out pair: Dice before and after, error, folds."""
        pair = on_device(synthesise(HELD_OUT_SEED, number), self.device)
        with torch.no_grad():
            *_, velocity = coarse_to_fine(self.averaged.eval(), pair.fixed, pair.moving)
            flow = integrate(velocity)
            folds = njd(flow[0].cpu().numpy())
            return {
                "dice_before": 1 - self._overlap_loss(pair, torch.zeros_like(flow)).item(),
                "dice": 1 - self._overlap_loss(pair, flow).item(),
                "flow_error": relative_error(pair, flow).item(),
                "njd": float(folds.count),
                "njd_percent": folds.percent,
            }

    def state_dict(self) -> dict[str, Any]:
        """Return what besides the averaged weights makes the steps go on exactly."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "weights": self.network.state_dict(),
            "averaged_steps": int(self._mean.n_averaged),
        }

    def load(self, checkpoint: Checkpoint, source: Path) -> State:
        """Take up what a checkpoint holds, and return how far it is; raises CheckpointError if it cannot be used."""
        saved = saved_training(checkpoint, source)
        load_weights(self.averaged, checkpoint.weights, source)
        load_weights(self.network, saved.weights or {}, source)
        load_optimizer(self.optimizer, saved.optimizer, source)
        self._mean.n_averaged.fill_(saved.averaged_steps)
        return saved.state


def steps_per_epoch(config: TrainConfig) -> int:
    """Return the steps between two measurements; raises RunError for a configuration without them."""
    if config.optimisation.steps_per_epoch is None:
        raise RunError("The configuration of a general network's training needs steps_per_epoch.")
    return config.optimisation.steps_per_epoch


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of a step: a rise, then constant, and a fall over the last tenth of all steps.

    A training may be stopped and used at any step; to let the rate fall sooner, resume it with fewer steps in all.
    """
    settings = config.optimisation
    total = settings.epochs * steps_per_epoch(config)
    rise = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    fall = min(1.0, max(0.0, (total - step) / (FALL * total)))
    return settings.lr * rise * (MIN_RATE + (1 - MIN_RATE) * fall)


def smaller(pair: SyntheticPair, scale: int) -> SyntheticPair:
    """Return the pair at 1 / `scale` of its size, its flow in the smaller pixels."""
    if scale == 1:
        return pair
    images = (pair.fixed, pair.moving, pair.fixed_label, pair.moving_label)
    fixed, moving, fixed_label, moving_label = (F.avg_pool2d(image, scale) for image in images)
    return SyntheticPair(
        fixed=fixed,
        moving=moving,
        fixed_label=fixed_label,
        moving_label=moving_label,
        flow=F.avg_pool2d(pair.flow, scale) / scale,
        known=F.avg_pool2d(pair.known.float(), scale) == 1,
    )


def relative_error(pair: SyntheticPair, flow: Tensor) -> Tensor:
    """Return the mean distance of a flow from the true one, where that is known, in percent of the shorter side."""
    distance = ((flow - pair.flow).square().sum(dim=1, keepdim=True) + 1e-4).sqrt()
    return 100 / min(flow.shape[2:]) * (distance * pair.known).sum() / pair.known.sum().clamp(min=1)


def on_device(pair: SyntheticPair, device: torch.device) -> SyntheticPair:
    """Return the pair with all its tensors on a device."""
    return SyntheticPair(**{name: tensor.to(device) for name, tensor in vars(pair).items()})


def _running_mean(decay: float) -> Any:
    """How AveragedModel takes up new weights: faster at first, so that those of the start are soon forgotten."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, steps: Tensor) -> None:
        done = int(steps)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (done + 1) / (done + 10)))

    return update
