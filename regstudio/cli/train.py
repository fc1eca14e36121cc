"""`regstudio train`: shows the trainer's events as progress bars and log lines; SIGINT and SIGTERM stop it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.options import distributed, given, setting_options
from regstudio.config import PRESETS, TrainConfig, build_config, preset_values
from regstudio.errors import ConfigError, printable
from regstudio.signals import SAVING, StopSignals

if TYPE_CHECKING:
    from regstudio.data.folders.layout import DataIndex
    from regstudio.distributed import Group
    from regstudio.runs.events import TrainEvent
    from regstudio.runs.run import Run

MAX_CHECKED = 1000  # files of each set opened before the first step; training opens the others


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

    run, config, index = group.broadcast_from_first(lambda: _prepare(resume, preset, given(values)))
    with StopSignals(message=SAVING if group.is_first else "", every=group.size > 1) as signals:
        reason = show_training(training(config, index, run=run, stop=signals.stop, group=group))
    if reason == "failed":
        raise SystemExit(1)
    if reason == "stopped" and signals.received:
        raise SystemExit(signals.exit_code)


def _prepare(
    resume: Path | None, preset: str | None, values: dict[str, Any]
) -> "tuple[Run | None, TrainConfig, DataIndex]":
    """Return the run to resume, if there is one, the settings, and the index of the data."""
    from regstudio.runs.run import open_run, resumed_config

    run = open_run(resume) if resume else None
    if run and preset:
        raise ConfigError(f"--preset {preset}: a run that is resumed keeps its settings. Leave it out.")
    config = resumed_config(run, values) if run else build_config(preset_values(preset, values) if preset else values)
    return run, config, checked_index(config)


def checked_index(config: TrainConfig) -> "DataIndex":
    """Check the data and print its problems; return the index of the usable cases."""
    from tqdm import tqdm

    from regstudio.training.setup import check_data

    report = check_data(
        config,
        most=MAX_CHECKED,
        most_validation=MAX_CHECKED,
        progress=lambda jobs: tqdm(jobs, desc="Checking", unit="file", leave=False),
    )
    if report.index.problems:
        click.echo(report.to_text(), err=True)
    if not report.can_train:
        raise SystemExit(1)
    return report.index


def show_training(events: "Iterable[TrainEvent]") -> str:
    """Show the events, with progress bars for alignment, steps and validation; return how the training ended."""
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
            click.echo(printable(line), err=isinstance(event, RunFinished) and event.reason == "failed")
    return reason


def _close(bar: Any) -> None:
    if bar is not None:
        bar.close()
