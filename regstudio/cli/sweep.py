"""`regstudio sweep`: a training for each combination of settings, then a table and a plot of Dice against folds."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.cli.train import checked_index, show_training
from regstudio.config import PRESETS, build_config, preset_values, settings
from regstudio.errors import ConfigError, printable
from regstudio.signals import SAVING, StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable

    from regstudio.config import TrainConfig
    from regstudio.runs.run import Run
    from regstudio.runs.sweep import Sweep


def _flags(command: "Callable[..., None]") -> "Callable[..., None]":
    """Add a flag for each setting, as a text: it may hold several values."""
    for setting in reversed(list(settings())):
        several = setting.section not in ("layout", "run") and setting.type is not Path
        metavar = "A,B,..." if several else None
        command = click.option(f"--{setting.name}", metavar=metavar, help=setting.help)(command)
    return command


@click.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), help="settings to start from; flags go over them")
@_flags
def sweep(preset: str | None, run_name: str | None, **values: str | None) -> None:
    """Train once for each combination of values: regstudio sweep --grad_weight 0.5,1,2 --epochs 10.

    The runs are called NAME_SETTING=VALUE, NAME being --run_name or "sweep". A table and a plot of Dice against folds
    are written to NAME_sweep/ in the runs folder. The same command goes on where Ctrl-C has stopped it.
    """
    from regstudio.runs.sweep import folder_of, plan_sweep, values_of, write_sweep

    name = run_name or "sweep"
    several = {key: text for key, text in values.items() if text is not None and "," in text and _may(key)}
    varied = {key: values_of(key, text) for key, text in several.items()}
    if not varied:
        raise ConfigError("A sweep varies at least one setting: name its values with commas, --grad_weight 0.5,1,2.")
    fixed: dict[str, Any] = {key: text for key, text in values.items() if text is not None and key not in varied}
    base = build_config(preset_values(preset, fixed) if preset else fixed)
    planned, configs = plan_sweep(name, base, varied)
    folder = folder_of(base.run.runs_dir, name)
    write_sweep(folder, planned)
    try:
        _train_all(configs)
    finally:
        _tell(planned, base.run.runs_dir, folder)


def _may(name: str) -> bool:
    from regstudio.runs.sweep import may_vary

    return any(setting.name == name and may_vary(setting) for setting in settings())


def _train_all(configs: "list[TrainConfig]") -> None:
    """Train each run that is not finished yet; raises SystemExit where one is stopped."""
    from regstudio.training.trainer import train

    index = checked_index(configs[0])
    for number, config in enumerate(configs, 1):
        run, finished = _begun(config)
        click.echo(f"\n{number} of {len(configs)}: {config.run.run_name}" + ", which is done" * finished)
        if finished:
            continue
        with StopSignals(message=SAVING) as signals:
            reason = show_training(train(config, index, run=run, stop=signals.stop))
        if reason == "stopped":
            raise SystemExit(signals.exit_code if signals.received else 1)


def _begun(config: "TrainConfig") -> "tuple[Run | None, bool]":
    """Return the run of these settings if it can be gone on with, and whether it is finished already."""
    from regstudio.runs.catalogue import summarise_run
    from regstudio.runs.run import Run

    run = Run((config.run.runs_dir / str(config.run.run_name)).resolve())
    if not run.config_path.is_file():
        return None, False
    if summarise_run(run).state == "finished":
        return run, True
    return (run if run.last_path.is_file() else None), False


def _tell(planned: "Sweep", runs_dir: Path, folder: Path) -> None:
    """Print the table, and write it and the plot."""
    from regstudio.evaluation.sweeps import write_outcome
    from regstudio.runs.sweep import outcomes, summaries_in, to_rows

    rows = to_rows(planned, outcomes(planned, summaries_in(runs_dir)))
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    click.echo()
    for row in rows:
        line = "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(printable(line.rstrip()))
    click.echo(f"\n{', '.join(map(str, write_outcome(planned, runs_dir, folder)))}")
