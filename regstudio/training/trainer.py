"""The training loop: a generator of events that does not know who watches it.

State first, event after: what an event tells has been saved before it is told. A consumer pauses a training by not
asking for the next event, and ends it by setting `stop`.
"""

import math
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NoReturn

import torch

from regstudio.config import TrainConfig, build_config
from regstudio.data.affine_cache import affine_matrices
from regstudio.data.dataset import Item
from regstudio.data.layout import DataIndex
from regstudio.errors import DataError, RegStudioError, RunError, TrainingError
from regstudio.networks.device import cpu_threads
from regstudio.training.events import (
    EpochDone,
    ImageAligned,
    PairValidated,
    RunFinished,
    RunStarted,
    StepDone,
    TrainEvent,
)
from regstudio.training.learner import NotFiniteError
from regstudio.training.runs import Run, create_run
from regstudio.training.saving import Saver, State, restore
from regstudio.training.setup import Parts, build
from regstudio.training.summary import summary
from regstudio.training.validation import mean_metrics, validate_pair


def train(
    config: TrainConfig,
    index: DataIndex,
    *,
    run: Run | None = None,
    stop: threading.Event | None = None,
    save: threading.Event | None = None,
) -> Iterator[TrainEvent]:
    """Train CorrMLP on `index` as `config` says, and yield what happens; go on with `run` if one is given.

    Every event is in the run's events.jsonl, and its summary in log/log.txt, before it is yielded. Setting `stop`
    finishes the step, saves last.pt and ends with RunFinished("stopped"); setting `save` saves last.pt after the step
    and goes on. What goes wrong once it runs (a file, a loss that is not finite, no memory) ends with
    RunFinished("failed"). Raises a RegStudioError where it cannot start.
    """
    resumed = run is not None and run.last_path.exists()
    # What a resumed run started from may be gone by now; its weights are in last.pt.
    parts = build(build_config({"load_model": None}, config) if resumed else config, index)
    run = run or create_run(config)
    with run.lock(), cpu_threads(config.optimisation.threads):
        state = restore(parts, run) if resumed else State(epoch=config.optimisation.initial_epoch)
        if state.epoch >= config.optimisation.epochs:
            raise RunError(f"{run.path}: {state.epoch} epochs are done already. Train on with a larger --epochs.")
        course = _Course(
            config, parts, Saver(config, parts, run), run, stop or threading.Event(), save or threading.Event()
        )
        try:
            for event in course.events(state, resumed):
                _record(run, event)
                yield event
        except Exception as error:
            _record(run, RunFinished(reason="failed", message=f"{type(error).__name__}: {error}"))
            raise


def _record(run: Run, event: TrainEvent) -> None:
    run.append(event)
    for line in summary(event):
        run.log(line)


@dataclass(frozen=True)
class _Course:
    """One training from start or resumption to its end."""

    config: TrainConfig
    parts: Parts
    saver: Saver
    run: Run
    stop: threading.Event
    save: threading.Event

    def events(self, state: State, resumed: bool) -> Iterator[TrainEvent]:
        """Yield every event of the training, the last a RunFinished."""
        yield RunStarted(
            run=str(self.run.path),
            device=_describe(self.parts.device),
            parameters=sum(parameter.numel() for parameter in self.parts.learner.model.parameters()),
            train_cases=len(self.parts.training),
            validation_cases=len(self.parts.validation),
            epochs=self.config.optimisation.epochs,
            steps_per_epoch=self.parts.steps_per_epoch,
            epoch=state.epoch,
            step=state.step,
            resumed=resumed,
        )
        try:
            yield from self._align()
            while state.epoch < self.config.optimisation.epochs:
                state = yield from self._epoch(state)
                if self.stop.is_set() and state.epoch < self.config.optimisation.epochs:
                    yield self.saver.last(state)
                    yield RunFinished(reason="stopped", message=f"Stopped. {_how_to_resume(self.run)}")
                    return
            yield RunFinished(reason="finished", message="Training Finished")
        except RegStudioError as error:
            yield RunFinished(reason="failed", message=str(error))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            yield RunFinished(reason="failed", message=_out_of_memory(error))

    def _align(self) -> Iterator[TrainEvent]:
        """Find the affine map of every moving image, where there are to be any."""
        parts = self.parts
        if parts.aligned is None:
            return
        cases = list(dict.fromkeys((*parts.training, *parts.validation, parts.preview)))
        fixed = parts.image_loader(parts.atlas.image)[0]
        with closing(affine_matrices(fixed, [case.image for case in cases], parts.image_loader)) as found:
            for number, (path, affine) in enumerate(found, 1):
                if isinstance(affine, DataError):
                    raise affine
                parts.aligned[path] = affine.matrix
                yield ImageAligned(number=number, total=len(cases), image=path.name)
                if self.stop.is_set():
                    return

    def _epoch(self, state: State) -> Generator[TrainEvent, None, State]:
        """Finish the epoch under way: steps, validation, checkpoints; return the state it ends in."""
        with closing(self.parts.loader.epoch(state.epoch, skip=state.step)) as batches:
            state = yield from self._steps(state, batches)
        if self.stop.is_set():
            return state
        started = time.perf_counter()
        metrics = yield from self._validate(state.epoch + 1)
        if self.stop.is_set():
            return state
        losses = {name: total / state.step for name, total in state.sums.items()}
        best = metrics.get("dice", -math.inf) > state.best_dice
        seconds = state.seconds + time.perf_counter() - started
        state = State(epoch=state.epoch + 1, best_dice=metrics["dice"] if best else state.best_dice)
        saved = self.saver.epoch(state, {**losses, **metrics}, best=best)
        epochs = self.config.optimisation.epochs
        yield EpochDone(epoch=state.epoch, epochs=epochs, seconds=seconds, losses=losses, metrics=metrics, best=best)
        yield saved
        yield self.saver.preview(state)
        return state

    def _steps(self, state: State, batches: Iterator[Item]) -> Generator[TrainEvent, None, State]:
        """Take the steps that the epoch still lacks; return the state after the last."""
        parts, saved_at = self.parts, time.monotonic()
        while state.step < parts.steps_per_epoch and not self.stop.is_set():
            started = time.perf_counter()
            losses = self._step(next(batches), state)
            seconds = time.perf_counter() - started
            state = replace(
                state,
                step=state.step + 1,
                sums={name: state.sums.get(name, 0.0) + value for name, value in losses.items()},
                seconds=state.seconds + seconds,
            )
            yield StepDone(epoch=state.epoch + 1, step=state.step, losses=losses, seconds=seconds)
            if self.save.is_set() or time.monotonic() - saved_at > 60 * self.config.run.save_minutes:
                self.save.clear()
                yield self.saver.last(state)
                saved_at = time.monotonic()
        return state

    def _step(self, batch: Mapping[str, torch.Tensor], state: State) -> dict[str, float]:
        """Take one step on a batch; return the named losses."""
        parts = self.parts
        on_device = {name: tensor.to(parts.device, non_blocking=True) for name, tensor in batch.items()}
        try:
            return parts.learner.step(on_device, state.epoch * parts.steps_per_epoch + state.step)
        except NotFiniteError as error:
            self._fail_on_numbers(error, state)

    def _fail_on_numbers(self, error: NotFiniteError, state: State) -> NoReturn:
        """Save the weights, those before the bad step, and the images at hand, and give up."""
        self.saver.failed(
            state, {"losses": error.losses, "gradient_norm": error.norm, "step": state.step, **error.images}
        )
        terms = ", ".join(f"{name} {value:g}" for name, value in error.losses.items())
        raise TrainingError(
            f"Epoch {state.epoch + 1}, step {state.step + 1}: the loss or its gradient is not a finite number "
            f"({terms}, gradient norm {error.norm:g}). Weights and images are in {self.run.failed_path}; the last good "
            "checkpoint is untouched. A lower --lr usually helps; so does --affine auto on images that lie askew."
        )

    def _validate(self, epoch: int) -> Generator[TrainEvent, None, dict[str, float]]:
        """Measure every validation pair, if it is this epoch's turn; return the mean metrics."""
        parts = self.parts
        if not parts.validation or epoch % self.config.validation.validation_freq:
            return {}
        measured: list[dict[str, float]] = []
        for case in parts.validation:
            if self.stop.is_set():
                return {}
            measured.append(validate_pair(parts, case))
            yield PairValidated(
                epoch=epoch,
                number=len(measured),
                total=len(parts.validation),
                case=case.id,
                dice_before=measured[-1].get("dice_before"),
                dice=measured[-1].get("dice"),
                njd_percent=measured[-1]["njd_percent"],
            )
        return mean_metrics(measured)


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"


def _how_to_resume(run: Run) -> str:
    return f"Go on with: regstudio train --resume {run.path}"


def _is_out_of_memory(error: RuntimeError) -> bool:
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _out_of_memory(error: RuntimeError) -> str:
    return (
        f"The device has too little memory ({str(error).splitlines()[0]}). Lower --batch_size, or use "
        "--gradient_checkpointing."
    )
