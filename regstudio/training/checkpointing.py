"""What a training leaves on the disk besides its record, and how it takes up what it left."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regstudio.config import TrainConfig
from regstudio.data.writing import write_arrays
from regstudio.errors import RunError
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint
from regstudio.runs.events import CheckpointSaved, PreviewSaved
from regstudio.runs.run import Run
from regstudio.training.setup import Parts
from regstudio.training.validation import register_case


@dataclass(frozen=True, kw_only=True)
class State:
    """What besides weights and optimizer makes a training go on exactly: `epoch` epochs and `step` steps are done."""

    epoch: int
    step: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    best_dice: float = -math.inf

    def in_steps(self, now: int, then: int) -> "State":
        """Return this state of an epoch of `then` steps in one of `now`, as other numbers of processes take.

        The share of the epoch that is done stays what it is, rounded down to a whole step.
        """
        if now == then:
            return self
        step = self.step * now // then
        sums = {name: total * step / self.step for name, total in self.sums.items()} if step else {}
        return replace(self, step=step, sums=sums)


def restore(parts: Parts, run: Run) -> State:
    """Put the weights and optimizer of last.pt into `parts`; return the state to go on from.

    Raises RunError where last.pt cannot be gone on from exactly, CheckpointError where it cannot be read.
    """
    checkpoint = load_checkpoint(run.last_path)
    load_weights(parts.learner.averaged, checkpoint, run.last_path)
    if "optimizer" not in checkpoint.training:
        raise RunError(f"{run.last_path}: holds no optimizer to go on with. Start a new run with --load_model.")
    if checkpoint.training["cases"] != parts.cases_digest:
        raise RunError(
            f"{run.path}: the training images are not those it was started with, so it cannot go on exactly. "
            f"Put them back, or start a new run with --load_model {run.last_path}."
        )
    parts.learner.load_state_dict(checkpoint.training)
    steps_then = checkpoint.training.get("steps_per_epoch", parts.steps_per_epoch)
    return State(**checkpoint.training["state"]).in_steps(parts.steps_per_epoch, steps_then)


@dataclass(frozen=True)
class Checkpointer:
    """Writes checkpoints and previews of one training into its run, each atomically, if its process is the first."""

    config: TrainConfig
    parts: Parts
    run: Run

    def last(self, state: State) -> CheckpointSaved:
        """Save everything needed to go on."""
        training = {
            "state": asdict(state),
            "cases": self.parts.cases_digest,
            "steps_per_epoch": self.parts.steps_per_epoch,
            **self.parts.learner.state_dict(),
        }
        self._save(self.run.last_path, self._checkpoint(state, training=training))
        return CheckpointSaved(path=str(self.run.last_path), epoch=state.epoch, step=state.step)

    def epoch(self, state: State, metrics: Mapping[str, float], *, best: bool) -> CheckpointSaved:
        """Save the network of a whole epoch, as the best one too if it is, and everything needed to go on."""
        checkpoint = self._checkpoint(state, metrics=metrics)
        path = self.run.epoch_path(state.epoch)
        self._save(path, checkpoint)
        if best:
            self._save(self.run.best_path, checkpoint)
        self.last(state)
        return CheckpointSaved(path=str(path), epoch=state.epoch)

    def failed(self, state: State, evidence: Mapping[str, Any]) -> None:
        """Save the network beside what helps to look into a failure."""
        self._save(self.run.failed_path, self._checkpoint(state, training=evidence))

    def preview(self, state: State) -> PreviewSaved:
        """Save how the network registers the preview's pair."""
        path = self.run.preview_path(state.epoch)
        if self.parts.group.is_first:
            self._write_preview(path)
        return PreviewSaved(path=str(path), epoch=state.epoch)

    def _write_preview(self, path: Path) -> None:
        """Write the pair once, and what this epoch makes of it: half precision, and bytes for grey values, do."""
        registration = register_case(self.parts, self.parts.preview)
        pair, labels, warped_labels = registration.pair, {}, {}
        if pair.fixed_label is not None and pair.moving_label is not None and registration.warped_label is not None:
            labels = {"fixed_label": pair.fixed_label, "moving_label": pair.moving_label}
            warped_labels = {"warped_label": registration.warped_label}
        if not self.run.pair_path.exists():
            write_arrays(self.run.pair_path, {"fixed": _bytes(pair.fixed), "moving": _bytes(pair.moving), **labels})
        flow = registration.flow.astype(np.float16)
        write_arrays(path, {"warped": _bytes(registration.warped), "flow": flow, **warped_labels})

    def _save(self, path: Path, checkpoint: Checkpoint) -> None:
        if self.parts.group.is_first:
            save_checkpoint(path, checkpoint)

    def _checkpoint(self, state: State, **values: Any) -> Checkpoint:
        return Checkpoint(
            weights=self.parts.learner.averaged.state_dict(),
            network=self.config.network.model_dump(exclude={"gradient_checkpointing"}),
            config=self.config.model_dump(mode="json"),
            epoch=state.epoch,
            **values,
        )


def _bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image in [0, 1] as bytes."""
    return (255 * image).round().astype(np.uint8)
