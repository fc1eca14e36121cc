"""Messages of a training to the user: log lines, the device, and why it ended."""

from collections.abc import Iterator
from pathlib import Path

import torch

from regstudio.errors import DiskFullError
from regstudio.runs.events import EpochDone, RunFinished, RunStarted, TrainEvent
from regstudio.runs.run import Run
from regstudio.training.criterion import CRITERIA
from regstudio.training.step import NotFiniteError


def log_lines(event: TrainEvent) -> Iterator[str]:
    """Yield the lines of the log for an event: none for a step, one for an epoch."""
    match event:
        case RunStarted():
            yield f"Run {event.run}"
            yield (
                f"{event.train_cases} training and {event.validation_cases} validation images, "
                f"{event.parameters:,} parameters, on {event.device}"
            )
            if event.resumed:
                yield f"Goes on after epoch {event.epoch}, step {event.step} of {event.steps_per_epoch}"
        case EpochDone():
            yield _epoch_line(event)
        case RunFinished():
            yield from event.message.splitlines()


def _epoch_line(event: EpochDone) -> str:
    parts = [f"Epoch {event.epoch:03d}/{event.epochs:03d}", f"{event.seconds:.1f} s"]
    parts += [f"{name} {value:.5f}" for name, value in event.losses.items()]
    metrics = event.metrics
    if "dice" in metrics:
        parts.append(f"Dice {metrics['dice']:.4f} (before {metrics['dice_before']:.4f})")
    if "tre" in metrics:
        mm = f", {metrics['tre_mm']:.2f} mm" if "tre_mm" in metrics else ""
        parts.append(f"TRE {metrics['tre']:.2f} pixels{mm} (before {metrics['tre_before']:.2f})")
    if "similarity" in metrics:
        parts.append(f"similarity {metrics['similarity']:.4f} (before {metrics['similarity_before']:.4f})")
    if "njd" in metrics:
        parts.append(f"NJD {metrics['njd']:.1f} ({metrics['njd_percent']:.3f} %)")
    title = next((criterion.title for criterion in CRITERIA if criterion.metric == event.best_by), "Dice")
    return "  ".join(parts + [f"best so far by {title}"] * event.best)


def describe(device: torch.device, processes: int) -> str:
    """Return the name of the device, and the number of processes if there are several."""
    threads = torch.get_num_threads()
    detail = f"{threads} thread{'s' * (threads != 1)}"
    if device.type == "cuda":
        detail = torch.cuda.get_device_name(device)
    return f"{processes} processes, the first on " * (processes > 1) + f"{device} ({detail})"


def how_to_resume(run: Path) -> str:
    """Return the command that resumes a run."""
    return f"Go on with: regstudio train --resume {run}"


def disk_full(error: DiskFullError, run: Path) -> str:
    """Return the message for a full disk: which file, what is safe, and how to go on."""
    return f"{error} {how_to_resume(run)}"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the device ran out of memory; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory(error: RuntimeError) -> str:
    """Return the message for an out-of-memory error: what happened and what to do."""
    return (
        f"The device has too little memory ({str(error).splitlines()[0]}). Lower --batch_size, or use "
        "--gradient_checkpointing."
    )


def not_finite(error: NotFiniteError, epoch: int, step: int, run: Run) -> str:
    """Return the message for a loss that is not finite; `epoch` and `step` count from 1."""
    terms = ", ".join(f"{name} {value:g}" for name, value in error.losses.items())
    good = "the last good checkpoint is untouched" if run.last_path.exists() else "there is no checkpoint from before"
    return (
        f"Epoch {epoch}, step {step}: the loss or its gradient is not a finite number "
        f"({terms}, gradient norm {error.norm:g}). The images of this step and the weights before it are in "
        f"{run.failed_path}, to find out why; {good}. A lower --lr usually helps; so does --affine auto on images that "
        "lie askew."
    )
