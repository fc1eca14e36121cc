"""`regstudio train`: the trainer's events as progress bars and lines."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.options import distributed, given, setting_options
from regstudio.config import PRESETS, TrainConfig, build_config, preset_values
from regstudio.errors import ConfigError

if TYPE_CHECKING:
    from regstudio.data.layout import DataIndex
    from regstudio.distributed import Group
    from regstudio.runs.events import TrainEvent
    from regstudio.runs.run import Run

# Of either set: opening more before the first step would be felt; the rest is opened as it is trained on.
MAX_OPENED = 1000


def _purposes() -> str:
    return "; ".join(f"{name}: {recipe.purpose}" for name, recipe in PRESETS.items())


@click.command()
@click.option(
    "--preset", type=click.Choice(list(PRESETS)), help=f"settings to start from; flags go over them. {_purposes()}"
)
@setting_options()
@click.option("--resume", type=click.Path(path_type=Path), help="go on with this run, exactly where it was left")
@distributed
def train(group: "Group", resume: Path | None, preset: str | None, **values: Any) -> None:
    """Train a network to warp every moving image onto the atlas.

    Ctrl-C finishes the step under way, saves, and says how to go on; a second Ctrl-C ends at once.
    """
    from regstudio.training.trainer import train as training

    run, config, index = group.broadcast_from_first(lambda: _prepared(resume, preset, given(values)))
    stop = threading.Event()
    with _signals_set(stop, group) as received:
        reason = _show(training(config, index, run=run, stop=stop, group=group))
    if reason == "failed":
        raise SystemExit(1)
    if reason == "stopped" and received:
        raise SystemExit(128 + received[0])


def _prepared(
    resume: Path | None, preset: str | None, values: dict[str, Any]
) -> "tuple[Run | None, TrainConfig, DataIndex]":
    """Return the run to go on with, if there is one, the settings, and what was found of the data."""
    from regstudio.runs.run import open_run, resumed_config

    run = open_run(resume) if resume else None
    if run and preset:
        raise ConfigError(f"--preset {preset}: a run that is resumed keeps its settings. Leave it out.")
    config = resumed_config(run, values) if run else build_config(_over_preset(preset, values))
    return run, config, _checked(config)


def _over_preset(name: str | None, values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a preset, if one is named, with the flags that were given over them."""
    recipe = preset_values(name) if name else {}
    if "steps_per_epoch" in values:  # which the preset's total would replace
        recipe.pop("total_steps", None)
    return recipe | values


def _checked(config: TrainConfig) -> "DataIndex":
    """Return the index of the data, what cannot be used left out; say what was found."""
    from tqdm import tqdm

    from regstudio.training.setup import check_data

    report = check_data(
        config,
        most=MAX_OPENED,
        most_validation=MAX_OPENED,
        progress=lambda jobs: tqdm(jobs, desc="Checking", unit="file", leave=False),
    )
    if report.index.problems:
        click.echo(report.to_text(), err=True)
    if not report.can_train:
        raise SystemExit(1)
    return report.index


def _show(events: "Iterable[TrainEvent]") -> str:
    """Print the events, with a bar for the steps and one for the validation of each epoch; return how it ended."""
    from tqdm import tqdm

    from regstudio.runs.events import EpochDone, ImageAligned, PairValidated, RunFinished, RunStarted, StepDone
    from regstudio.training.messages import log_lines

    bar: tqdm[Any] | None = None
    reason, epochs, steps = "failed", 0, 0
    for event in events:
        match event:
            case RunStarted():
                epochs, steps = event.epochs, event.steps_per_epoch
            case ImageAligned():
                if event.number == 1:
                    bar = tqdm(desc="Aligning", total=event.total, unit="image")
                if bar is not None:
                    bar.update()
                if event.number == event.total:
                    _close(bar)
                    bar = None
            case StepDone():
                if bar is None:
                    bar = tqdm(desc=f"Epoch {event.epoch}/{epochs}", total=steps, initial=event.step - 1, unit="step")
                bar.set_postfix({name: f"{value:.4f}" for name, value in event.losses.items()}, refresh=False)
                bar.update()
            case PairValidated():
                if event.number == 1:
                    _close(bar)
                    bar = tqdm(desc="Validation", total=event.total, unit="pair")
                if bar is not None:
                    bar.update()
            case EpochDone() | RunFinished():
                _close(bar)
                bar = None
                reason = event.reason if isinstance(event, RunFinished) else reason
        for line in log_lines(event):
            click.echo(line, err=isinstance(event, RunFinished) and event.reason == "failed")
    return reason


def _close(bar: Any) -> None:
    if bar is not None:
        bar.close()


@contextmanager
def _signals_set(stop: threading.Event, group: "Group") -> Iterator[list[int]]:
    """Turn the first SIGINT or SIGTERM into `stop`, and yield the list it is put in; a second one acts as usual.

    But not in one of several processes: torchrun hands signals on that a cluster has sent to all of them already.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stop.set()
        if group.size == 1:
            signal.signal(number, before[number])
        if group.is_first:  # past Python's buffers, in which a signal may find another line half written
            os.write(2, b"\nFinishing the step under way, then saving.\n")

    before = {int(number): signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
