"""Training of the general network: on synthetic pairs without end, so that it registers what it has never seen.

    for each step
        draw a pair: two images of one random anatomy, its labels, and the true flow between them
        register it in one or several passes, coarse to fine
        after each pass: overlap of the labels, error of the flow, roughness of the velocity field
        one step of Adam on the mean over the passes; the weights' running mean is what is kept

A step is a function of the seed and its number alone, so a training that was stopped goes on exactly.
"""

import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from regstudio.config import TrainConfig
from regstudio.errors import RunError
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regstudio.networks.device import keep_freed_memory
from regstudio.runs.events import CheckpointSaved, EpochDone, RunFinished, RunStarted, StepDone, TrainEvent
from regstudio.runs.run import Run, create_run
from regstudio.threads import limit_cpu_threads
from regstudio.training.general.folders import FolderScore
from regstudio.training.general.step import Learner, steps_per_epoch
from regstudio.training.messages import log_lines
from regstudio.training.saved_state import State

HELD_OUT_PAIRS = 32
STEPS_PER_EVENT = 20  # for each StepDone, whose losses are the means over them


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
    with run.lock(), limit_cpu_threads(config.optimisation.threads):
        learner, state = Learner(config), State(epoch=0)
        if resumed:
            state = learner.load(load_checkpoint(run.last_path), run.last_path)
        if state.epoch >= config.optimisation.epochs:
            raise RunError(f"{run.path}: all {state.epoch} epochs are done. Train on with more --steps.")
        training = _Training(config, learner, run, folders, stop or threading.Event())
        for event in training.events(state, resumed):
            run.append(event)
            for line in log_lines(event):
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
        recent: list[dict[str, float]] = []
        while state.epoch < self.epochs:
            if self.stop.is_set():
                yield self._save(state)
                yield RunFinished(reason="stopped", message=f"Stopped. Go on with --resume {self.run.path}")
                return
            started = time.perf_counter()
            losses = self.learner.step(state.epoch * self.steps + state.step)
            seconds = time.perf_counter() - started
            recent.append(losses)
            sums = {name: state.sums.get(name, 0.0) + value for name, value in losses.items()}
            state = replace(state, step=state.step + 1, sums=sums, seconds=state.seconds + seconds)
            if state.step % STEPS_PER_EVENT == 0 or state.step == self.steps:
                means = _means(recent)
                recent.clear()
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


def _means(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: fmean(metrics[name] for metrics in measured) for name in measured[0]}
