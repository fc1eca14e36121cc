"""The training loop: a generator of events that does not know who watches it.

State first, event after: the state is saved before the event is yielded. A consumer pauses a training by not asking
for the next event, and ends it by setting `stop`.
"""

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import NoReturn

import torch

from regstudio.config import TrainConfig, build_config
from regstudio.data.folders.layout import DataIndex
from regstudio.data.folders.pair_table import pairs_to_csv
from regstudio.data.pairs.dataset import Item
from regstudio.distributed import SINGLE_PROCESS, Group
from regstudio.errors import ConfigError, DiskFullError, RegStudioError, RunError, TrainingError, WorkerLostError
from regstudio.files import write_text
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.networks.device import release_freed_memory
from regstudio.runs.diagnosis import findings_of
from regstudio.runs.events import EpochDone, PairValidated, RunFinished, RunStarted, StepDone, TrainEvent
from regstudio.runs.run import Run, create_run
from regstudio.threads import limit_cpu_threads
from regstudio.training.aligning import find_affine_maps
from regstudio.training.calibration import calibrate
from regstudio.training.checkpointing import Checkpointer, restore
from regstudio.training.comparison import advice
from regstudio.training.criterion import criterion_of, judged
from regstudio.training.examination import examine
from regstudio.training.messages import (
    describe,
    disk_full,
    how_to_resume,
    is_out_of_memory,
    not_finite,
    out_of_memory,
)
from regstudio.training.recording import Recorder, record
from regstudio.training.saved_state import State
from regstudio.training.setup import Parts, build
from regstudio.training.step import Begun, NotFiniteError
from regstudio.training.validation import mean_metrics, timed, validate


def train(
    config: TrainConfig,
    index: DataIndex,
    *,
    run: Run | None = None,
    stop: threading.Event | None = None,
    save: threading.Event | None = None,
    group: Group = SINGLE_PROCESS,
) -> Iterator[TrainEvent]:
    """Train a network on the cases of `index` and yield the events; resume `run` if one is given.

    Each event is written to the run's events.jsonl, and its summary to log/log.txt, before it is yielded. Setting
    `stop` finishes the step, saves last.pt and ends with RunFinished("stopped"); setting `save` saves last.pt after the
    step and continues. An error during training (a broken file, a loss that is not finite, too little memory) ends
    with RunFinished("failed"). Raises a RegStudioError if the training cannot start.

    Each process of a `group` calls this, and they train together; only the first writes, and any may set `stop`.

        for event in train(config, check_data(config).index):
            print(event)
    """
    resumed = run is not None and run.last_path.exists()
    if config.loss.teacher_weight and not (resumed or config.optimisation.load_model):
        raise ConfigError(
            f"teacher_weight is {config.loss.teacher_weight:g}, but there is no network to learn from. Give one with "
            "--load_model, or set --teacher_weight 0."
        )
    # The checkpoint that a resumed run started from may be gone by now; the weights are in last.pt.
    started = build_config({"load_model": None}, config) if resumed else config
    axes = load_checkpoint(run.last_path).axes if run is not None and resumed else "itk"
    parts = build(started, index, group, axes=axes)
    run = group.broadcast_from_first(lambda: run or create_run(config))
    with run.lock() if group.is_first else nullcontext(), limit_cpu_threads(config.optimisation.threads):
        state = restore(parts, run) if resumed else State(epoch=config.optimisation.initial_epoch)
        if state.epoch >= config.optimisation.epochs:
            raise RunError(f"{run.path}: {state.epoch} epochs are done already. Train on with a larger --epochs.")
        if group.is_first:  # only now, with the run locked and ready to start, may its record change
            run.remove_leftovers()
            run.write_config(config)
            if config.layout.validation_share:
                splits = {"train": index.train, "validation": index.validation}
                write_text(run.split_path, pairs_to_csv(splits, index.root, index.atlas))
        training = _Training(
            config=config,
            parts=parts,
            checkpointer=Checkpointer(config, parts, run),
            run=run,
            stop=stop or threading.Event(),
            save=save or threading.Event(),
        )
        recorder = Recorder(config, run, group)
        try:
            for event in training.events(state, resumed):
                recorder(event)
                yield event
        except DiskFullError as error:  # the record itself cannot be written
            end = training.failed(disk_full(error, run.path))
            with suppress(OSError):
                record(run, end, group)
            yield end
        except Exception as error:
            with suppress(OSError):  # which must not hide the error
                record(run, RunFinished(reason="failed", message=f"{type(error).__name__}: {error}"), group)
            raise
        finally:
            parts.learner.replayed.forget()
            release_freed_memory()


@dataclass(frozen=True, kw_only=True)
class _Training:
    """One training from its start, or resume, to its end."""

    config: TrainConfig
    parts: Parts
    checkpointer: Checkpointer
    run: Run
    stop: threading.Event
    save: threading.Event

    def events(self, state: State, resumed: bool) -> Iterator[TrainEvent]:
        """Yield every event of the training, the last a RunFinished."""
        yield RunStarted(
            run=str(self.run.path),
            device=describe(self.parts.device, self.parts.group.size),
            parameters=sum(parameter.numel() for parameter in self.parts.learner.model.parameters()),
            train_cases=len(self.parts.training),
            validation_cases=len(self.parts.validation),
            epochs=self.config.optimisation.epochs,
            steps_per_epoch=self.parts.steps_per_epoch,
            epoch=state.epoch,
            step=state.step,
            resumed=resumed,
            scale_steps=self.parts.learner.scale_steps(
                self.config.optimisation.epochs * self.parts.steps_per_epoch, self.parts.size
            ),
        )
        try:
            if self.config.validation.compare and self.parts.group.is_first and not resumed:
                yield from filter(None, [examine(self.parts, self.stop.is_set)])
            yield from find_affine_maps(self.parts, self._stop_requested, wide=self.config.alignment.affine == "wide")
            while state.epoch < self.config.optimisation.epochs:
                state = yield from self._epoch(state)
                if self._stop_requested() and state.epoch < self.config.optimisation.epochs:
                    yield self.checkpointer.last(state)
                    yield RunFinished(reason="stopped", message=f"Stopped. {how_to_resume(self.run.path)}")
                    return
            yield RunFinished(reason="finished", message=self._end_message())
        except WorkerLostError as error:
            yield RunFinished(reason="failed", message=f"{error}\n{how_to_resume(self.run.path)}")
        except DiskFullError as error:
            yield self.failed(disk_full(error, self.run.path))
        except RegStudioError as error:
            yield self.failed(str(error))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            yield self.failed(out_of_memory(error))

    def _end_message(self) -> str:
        """Say that the training is finished and, before, what its record says of it and where it was in vain."""
        better = None
        if self.config.validation.compare and self.parts.group.is_first:
            calibrate(self.parts, self.run, self.stop.is_set)
            better = advice(self.parts, self.run, self.stop.is_set)
        found = map(str, findings_of(self.run)) if self.parts.group.is_first else ()
        return "\n".join(filter(None, (*found, better, "Training Finished")))

    def _scale(self, step: int) -> int:
        return self.parts.learner.scale(step, self.parts.size)

    def failed(self, why: str) -> RunFinished:
        """Return the last event of a training that failed, and tell the other processes why."""
        self.parts.group.leave_reason(why)
        return RunFinished(reason="failed", message=why)

    def _stop_requested(self) -> bool:
        """Whether `stop` is set in any process."""
        return self.parts.group.any_true(self.stop.is_set())

    @contextmanager
    def _checkpoint_if_peer_lost(self, state: State) -> Iterator[None]:
        """Save `state` to last.pt if another process is lost in the block; the block must not change the state."""
        try:
            with self.parts.group.translate_lost_peer():
                yield
        except WorkerLostError:
            self.checkpointer.last(state)
            raise

    def _epoch(self, state: State) -> Generator[TrainEvent, None, State]:
        """Finish the current epoch: steps, validation, checkpoints; return the state after it."""
        with closing(self.parts.loader.epoch(state.epoch, skip=state.step)) as batches:
            state = yield from self._steps(state, batches)
        seconds = state.seconds
        with self._checkpoint_if_peer_lost(state):
            metrics: dict[str, float] = {}
            if not self._stop_requested():
                metrics, validation_seconds = yield from timed(self._validate(state.epoch + 1))
                seconds += validation_seconds
            if self._stop_requested():
                return state
        losses = {name: total / state.step for name, total in state.sums.items()}
        scale = self._scale(state.epoch * self.parts.steps_per_epoch)
        state, best = judged(replace(state, epoch=state.epoch + 1, step=0, sums={}, seconds=0.0), metrics)
        saved = self.checkpointer.epoch(state, {**losses, **metrics}, best=best)
        epochs = self.config.optimisation.epochs
        yield EpochDone(
            epoch=state.epoch,
            epochs=epochs,
            seconds=seconds,
            losses=losses,
            metrics=metrics,
            best=best,
            best_by=criterion.metric if (criterion := criterion_of(metrics)) else "",
            scale=scale,
        )
        yield saved
        yield self.checkpointer.preview(state)
        return state

    def _steps(self, state: State, batches: Iterator[Item]) -> Generator[TrainEvent, None, State]:
        """Take the remaining steps of the epoch; return the state after the last one."""
        parts, last_save = self.parts, time.monotonic()
        begun: deque[Begun] = deque()  # the steps after `state`: on a GPU the next few, else one
        while state.step < parts.steps_per_epoch:
            with self._checkpoint_if_peer_lost(state):
                hold = self._stop_requested()
                if hold and not begun:
                    break
                hold = hold or self._save_due(last_save)
                started = time.perf_counter()
                number = state.epoch * parts.steps_per_epoch + state.step
                most = 0 if hold else min(1 + parts.learner.ahead, parts.steps_per_epoch - state.step)
                while not begun or len(begun) < most:
                    begun.append(parts.learner.begin(next(batches), number + len(begun)))
                try:
                    losses = parts.learner.finish(begun.popleft())
                except NotFiniteError as error:
                    self._fail_not_finite(error, state)
                seconds = time.perf_counter() - started
            state = replace(
                state,
                step=state.step + 1,
                sums={name: state.sums.get(name, 0.0) + value for name, value in losses.items()},
                seconds=state.seconds + seconds,
            )
            scale = self._scale(number)
            yield StepDone(epoch=state.epoch + 1, step=state.step, losses=losses, seconds=seconds, scale=scale)
            if not begun and self._save_due(last_save):
                self.save.clear()
                yield self.checkpointer.last(state)
                last_save = time.monotonic()
        return state

    def _save_due(self, last_save: float) -> bool:
        return self.save.is_set() or time.monotonic() - last_save > 60 * self.config.run.save_minutes

    def _fail_not_finite(self, error: NotFiniteError, state: State) -> NoReturn:
        """Save the weights before the bad step and its images to failed.pt, then raise TrainingError."""
        images = {name: torch.cat(self.parts.group.gather(image.cpu())) for name, image in error.images.items()}
        self.checkpointer.failed(
            state, {"losses": error.losses, "gradient_norm": error.norm, "step": state.step, **images}
        )
        raise TrainingError(not_finite(error, state.epoch + 1, state.step + 1, self.run))

    def _validate(self, epoch: int) -> Generator[TrainEvent, None, dict[str, float]]:
        """Validate every pair if `epoch` is due for validation; return the mean metrics."""
        parts = self.parts
        if not parts.validation or epoch % self.config.validation.validation_freq:
            return {}
        pair_metrics: list[dict[str, float]] = []
        own = validate(parts, parts.validation[parts.group.shard])
        for case, metrics in zip(parts.validation, parts.group.gather_in_order(own), strict=True):
            pair_metrics.append(metrics)
            yield PairValidated(
                epoch=epoch,
                number=len(pair_metrics),
                total=len(parts.validation),
                case=case.id,
                dice_before=metrics.get("dice_before"),
                dice=metrics.get("dice"),
                tre=metrics.get("tre"),
                njd_percent=metrics["njd_percent"],
            )
            if self._stop_requested():
                return {}
        return mean_metrics(pair_metrics)
