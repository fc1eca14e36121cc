"""The sentences in which a run's log, and the command line, tell its events."""

from collections.abc import Iterator

from regstudio.runs.events import EpochDone, RunFinished, RunStarted, TrainEvent


def summary(event: TrainEvent) -> Iterator[str]:
    """Yield the lines that `event` is worth to a reader: none for steps, one for an epoch."""
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
            yield _epoch(event)
        case RunFinished():
            yield from event.message.splitlines()


def _epoch(event: EpochDone) -> str:
    parts = [f"Epoch {event.epoch:03d}/{event.epochs:03d}", f"{event.seconds:.1f} s"]
    parts += [f"{name} {value:.5f}" for name, value in event.losses.items()]
    metrics = event.metrics
    if "dice" in metrics:
        parts.append(f"Dice {metrics['dice']:.4f} (before {metrics['dice_before']:.4f})")
    if "njd" in metrics:
        parts.append(f"NJD {metrics['njd']:.1f} ({metrics['njd_percent']:.3f} %)")
    return "  ".join(parts + ["best so far"] * event.best)
