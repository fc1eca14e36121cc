"""Training of the general network: on synthetic pairs without end, so that it registers what it has never seen.

    for each step
        draw a pair: two images of one random anatomy, its labels, and the true flow between them
        register it in one or several passes, coarse to fine
        after each pass: overlap of the labels, error of the flow, roughness of the velocity field
        one step of Adam on the mean over the passes; the weights' running mean is what is kept

A step is a function of the seed and its number alone, so a training that was stopped goes on exactly.
"""

import math
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
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
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint
from regstudio.networks.device import cpu_threads, find_device, keep_freed_memory
from regstudio.networks.passes import coarse_to_fine
from regstudio.networks.registration import RegistrationNetwork
from regstudio.networks.warp import SpatialTransformer, integrate
from regstudio.training.events import CheckpointSaved, EpochDone, RunFinished, RunStarted, StepDone, TrainEvent
from regstudio.training.folders import FolderScore
from regstudio.training.runs import Run, create_run
from regstudio.training.saving import State
from regstudio.training.summary import summary
from regstudio.training.synthesis import SyntheticPair, synthesise

# The passes of a step, by their scales, and how often each is taken.
PASSES = ((2, 1), (1,), (2, 1, 1), (4, 2, 1))
PASS_SHARES = (0.6, 0.3, 0.05, 0.05)
FLOW_WEIGHT = 0.05  # of the error in percent of the shorter side: 4 pixels of 128 weigh as much as 0.16 of Dice
MAX_NORM = 1.0  # of the gradient
FALL = 0.1  # the learning rate falls over this last share of the steps
SMALLEST_RATE = 0.02  # to this share of itself
HELD_OUT_SEED = 2**63  # one that no training can have
HELD_OUT_PAIRS = 32
STEPS_TOLD = 20  # for each StepDone, whose losses are the means over them

_warp = SpatialTransformer("bilinear")


class Learner:
    """The network, its optimizer and the running mean of its weights."""

    def __init__(self, config: TrainConfig) -> None:
        settings = config.optimisation
        torch.manual_seed(settings.seed)
        self.device = find_device(settings.device)
        network = build_network(**config.network.model_dump())
        if settings.load_model:
            load_weights(network, load_checkpoint(settings.load_model), settings.load_model)
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
        pair = on_device(synthesise(seed, number), self.device)
        random = np.random.default_rng([seed, number, 1])
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

    def load(self, checkpoint: Checkpoint, source: Path) -> None:
        """Take up what a checkpoint holds."""
        load_weights(self.averaged, checkpoint, source)
        self.network.load_state_dict(checkpoint.training["weights"])
        self.optimizer.load_state_dict(dict(checkpoint.training["optimizer"]))
        self._mean.n_averaged.fill_(checkpoint.training["averaged_steps"])


def train_general(
    config: TrainConfig,
    *,
    folders: Sequence[FolderScore] = (),
    run: Run | None = None,
    stop: threading.Event | None = None,
) -> Iterator[TrainEvent]:
    """Train as `config` says and yield what happens; go on with `run` if one is given.

    An epoch is `steps_per_epoch` steps, after which the network is measured: on held-out synthetic pairs, and on data
    `folders`, which change nothing else. Every event is in the run's record before it is yielded. Setting `stop`
    finishes the step, saves last.pt and ends with RunFinished("stopped"). Raises a RegStudioError where it cannot
    start.
    """
    keep_freed_memory()
    run, resumed = run or create_run(config), run is not None and run.last_path.exists()
    with run.lock(), cpu_threads(config.optimisation.threads):
        learner, state = Learner(config), State(epoch=0)
        if resumed:
            checkpoint = load_checkpoint(run.last_path)
            learner.load(checkpoint, run.last_path)
            state = State(**checkpoint.training["state"])
        if state.epoch >= config.optimisation.epochs:
            raise RunError(f"{run.path}: all {state.epoch} epochs are done. Train on with more --steps.")
        training = _Training(config, learner, run, folders, stop or threading.Event())
        for event in training.events(state, resumed):
            run.append(event)
            for line in summary(event):
                run.log(line)
            yield event


class _Training:
    """One training from start or resumption to its end."""

    def __init__(
        self, config: TrainConfig, learner: Learner, run: Run, folders: Sequence[FolderScore], stop: threading.Event
    ) -> None:
        self.config, self.learner, self.run, self.folders, self.stop = config, learner, run, folders, stop
        self.epochs = config.optimisation.epochs
        self.steps = steps_per_epoch(config)

    def events(self, state: State, resumed: bool) -> Iterator[TrainEvent]:
        yield RunStarted(
            run=str(self.run.path),
            device=str(self.learner.device),
            parameters=sum(parameter.numel() for parameter in self.learner.network.parameters()),
            train_cases=self.epochs * self.steps,
            validation_cases=HELD_OUT_PAIRS,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            epoch=state.epoch,
            step=state.step,
            resumed=resumed,
        )
        saved_at = time.monotonic()
        told: list[dict[str, float]] = []
        while state.epoch < self.epochs:
            if self.stop.is_set():
                yield self._save(state)
                yield RunFinished(reason="stopped", message=f"Stopped. Go on with --resume {self.run.path}")
                return
            started = time.perf_counter()
            losses = self.learner.step(state.epoch * self.steps + state.step)
            seconds = time.perf_counter() - started
            told.append(losses)
            sums = {name: state.sums.get(name, 0.0) + value for name, value in losses.items()}
            state = replace(state, step=state.step + 1, sums=sums, seconds=state.seconds + seconds)
            if state.step % STEPS_TOLD == 0 or state.step == self.steps:
                means = _means(told)
                told.clear()
                yield StepDone(epoch=state.epoch + 1, step=state.step, losses=means, seconds=seconds)
            if state.step == self.steps:
                state = yield from self._end_of_epoch(state)
                saved_at = time.monotonic()
            elif time.monotonic() - saved_at > 60 * self.config.run.save_minutes:
                yield self._save(state)
                saved_at = time.monotonic()
        yield RunFinished(reason="finished", message="Training Finished")

    def _end_of_epoch(self, state: State) -> Generator[TrainEvent, None, State]:
        started = time.perf_counter()
        metrics = _means([self.learner.scores(number) for number in range(HELD_OUT_PAIRS)])
        for folder in self.folders:
            metrics |= folder(self.learner.averaged.eval(), self.learner.device)
        losses = {name: total / state.step for name, total in state.sums.items()}
        seconds = state.seconds + time.perf_counter() - started
        best = metrics["dice"] > state.best_dice
        state = State(epoch=state.epoch + 1, best_dice=max(metrics["dice"], state.best_dice))
        for path in (self.run.epoch_path(state.epoch), *[self.run.best_path] * best):
            save_checkpoint(path, self._checkpoint(state, metrics))
        saved = self._save(state, metrics)
        self.run.log("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        yield EpochDone(
            epoch=state.epoch, epochs=self.epochs, seconds=seconds, losses=losses, metrics=metrics, best=best
        )
        yield saved
        return state

    def _save(self, state: State, metrics: Mapping[str, float] | None = None) -> CheckpointSaved:
        training = {"state": asdict(state), **self.learner.state_dict()}
        save_checkpoint(self.run.last_path, self._checkpoint(state, metrics or {}, training))
        return CheckpointSaved(path=str(self.run.last_path), epoch=state.epoch, step=state.step)

    def _checkpoint(
        self, state: State, metrics: Mapping[str, float], training: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        return Checkpoint(
            weights=self.learner.averaged.state_dict(),
            network=self.config.network.model_dump(exclude={"gradient_checkpointing"}),
            config=self.config.model_dump(mode="json"),
            epoch=state.epoch,
            metrics=metrics,
            training=training or {},
        )


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
    return settings.lr * rise * (SMALLEST_RATE + (1 - SMALLEST_RATE) * fall)


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


def _means(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(metrics[name] for metrics in measured) for name in measured[0]}
