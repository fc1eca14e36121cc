"""Saving checkpoints and previews, and restoring the state of a stopped training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regstudio.config import TrainConfig
from regstudio.data.pictures.writing import write_arrays
from regstudio.errors import RunError
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint
from regstudio.runs.events import CheckpointSaved, PreviewSaved
from regstudio.runs.run import Run
from regstudio.training.saved_state import State, saved_training
from regstudio.training.setup import Parts
from regstudio.training.validation import register_case


def restore(parts: Parts, run: Run) -> State:
    """Load the weights and optimizer of last.pt into `parts`; return the state to resume from.

    Raises RunError if an exact resume is impossible, CheckpointError if last.pt cannot be used.
    """
    checkpoint = load_checkpoint(run.last_path)
    load_weights(parts.learner.averaged, checkpoint.weights, run.last_path)
    saved = saved_training(checkpoint, run.last_path)
    if saved.cases != parts.cases_digest:
        raise RunError(
            f"{run.path}: the training images are not those it was started with, so it cannot go on exactly. "
            f"Put them back, or start a new run with --load_model {run.last_path}."
        )
    parts.learner.load_state_dict(checkpoint.training, run.last_path)
    return saved.state.rescaled(parts.steps_per_epoch, saved.steps_per_epoch or parts.steps_per_epoch)


@dataclass(frozen=True)
class Checkpointer:
    """Writes the checkpoints and previews of a run, each file atomically; only the group's first process writes."""

    config: TrainConfig
    parts: Parts
    run: Run

    def last(self, state: State) -> CheckpointSaved:
        """Save last.pt: everything needed to resume."""
        training = {
            "state": asdict(state),
            "cases": self.parts.cases_digest,
            "steps_per_epoch": self.parts.steps_per_epoch,
            **self.parts.learner.state_dict(),
        }
        self._save(self.run.last_path, self._checkpoint(state, training=training))
        return CheckpointSaved(path=str(self.run.last_path), epoch=state.epoch, step=state.step)

    def epoch(self, state: State, metrics: Mapping[str, float], *, best: bool) -> CheckpointSaved:
        """Save the checkpoint of a finished epoch, also as best_model.pt if it is the `best`, and last.pt.

        Older ones that `keep_checkpoints` does not want go only then, when the new ones are on the disk.
        """
        checkpoint, keep = self._checkpoint(state, metrics=metrics), self.config.run.keep_checkpoints
        path = self.run.epoch_path(state.epoch) if keep != "best" else self.run.last_path
        if keep != "best":
            self._save(path, checkpoint)
        if best:
            self._save(self.run.best_path, checkpoint)
        self.last(state)
        if keep != "all" and self.parts.group.is_first:
            self._remove_epochs(state.epoch - (0 if keep == "best" else int(keep)))
        return CheckpointSaved(path=str(path), epoch=state.epoch)

    def _remove_epochs(self, newest: int) -> None:
        """Remove the checkpoints of the epochs up to `newest`."""
        for path in self.run.last_path.parent.glob("epoch_*.pt"):
            number = path.stem.removeprefix("epoch_")
            if number.isdecimal() and int(number) <= newest:
                path.unlink(missing_ok=True)

    def failed(self, state: State, evidence: Mapping[str, Any]) -> None:
        """Save failed.pt: the network and the `evidence` for finding out why training failed."""
        self._save(self.run.failed_path, self._checkpoint(state, training=evidence))

    def preview(self, state: State) -> PreviewSaved:
        """Register the preview's pair and save the result."""
        path = self.run.preview_path(state.epoch)
        if self.parts.group.is_first:
            self._write_preview(path)
        return PreviewSaved(path=str(path), epoch=state.epoch)

    def _write_preview(self, path: Path) -> None:
        """Write the pair once, and this epoch's result: flow in half precision and grey values as bytes suffice."""
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
            axes=self.parts.axes,
            **values,
        )


def _bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image in [0, 1] as bytes."""
    return (255 * image).round().astype(np.uint8)
