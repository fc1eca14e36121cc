"""`regstudio train-general`: the network that registers what it has never seen."""

from pathlib import Path
from typing import Any

import click

from regstudio.cli.options import given
from regstudio.config import TrainConfig, build_config
from regstudio.errors import ConfigError
from regstudio.signals import SAVING, StopSignals

DEFAULTS: dict[str, Any] = {
    "transform": "svf",
    "encoder_channels": 8,
    "decoder_channels": 16,
    "ncc_weight": 0.0,
    "dice_weight": 1.0,
    "grad_weight": 0.25,
    "lr": 4e-4,
    "warmup_steps": 500,
    "ema": 0.9995,
    "save_minutes": 5.0,
}


@click.command()
@click.option("--steps", type=click.IntRange(1), help="steps in all; the learning rate falls over the last tenth")
@click.option("--steps_per_epoch", type=click.IntRange(1), help="steps between two measurements  [default: 2000]")
@click.option("--validate", "folders", type=click.Path(path_type=Path), multiple=True, help="data to measure on, too")
@click.option("--cases", type=click.IntRange(1), default=12, show_default=True, help="of each such folder")
@click.option("--encoder_channels", type=int, help="channels of the encoder at full size  [default: 8]")
@click.option("--decoder_channels", type=int, help="channels of the decoder at full size  [default: 16]")
@click.option("--grad_weight", type=float, help="weight of the velocity field's roughness  [default: 0.25]")
@click.option("--lr", type=float, help="learning rate of Adam  [default: 0.0004]")
@click.option("--ema", type=float, help="decay of the weights' running mean  [default: 0.9995]")
@click.option("--seed", type=int, help="of the first weights and of all pairs  [default: 0]")
@click.option("--device", help="auto, cpu, cuda or cuda:N  [default: auto]")
@click.option("--threads", type=int, help="most CPU threads that the training takes")
@click.option("--load_model", type=click.Path(path_type=Path), help="checkpoint to start from")
@click.option("--runs_dir", type=click.Path(path_type=Path), help="folder of all runs  [default: runs]")
@click.option("--run_name", help="name of the run's folder; date and time if not given")
@click.option("--save_minutes", type=float, help="minutes between safety copies  [default: 5]")
@click.option("--resume", type=click.Path(path_type=Path), help="go on with this run, exactly where it was left")
def train_general(steps: int | None, folders: tuple[Path, ...], cases: int, resume: Path | None, **values: Any) -> None:
    """Train the general network on synthetic pairs alone: no data is needed.

    Ctrl-C finishes the step under way, saves, and says how to go on.
    """
    from regstudio.runs.run import open_run
    from regstudio.training.general.folders import FolderScore
    from regstudio.training.general.loop import train_general as training
    from regstudio.training.messages import log_lines

    run = open_run(resume) if resume else None
    config = _planned(run.config() if run else build_config(DEFAULTS | {"steps_per_epoch": 2000}), steps, given(values))
    if run:
        run.write_config(config)
    scored = [FolderScore(folder, cases) for folder in folders]
    with StopSignals(message=SAVING) as signals:
        for event in training(config, folders=scored, run=run, stop=signals.stop):
            for line in log_lines(event):
                click.echo(line)
    if signals.received:
        raise SystemExit(signals.exit_code)


def _planned(config: TrainConfig, steps: int | None, values: dict[str, Any]) -> TrainConfig:
    """Return the configuration with flags put in; a number of steps becomes one of epochs."""
    config = build_config(values, config)
    each = config.optimisation.steps_per_epoch
    if steps is None or each is None:
        return config
    if steps % each:
        raise ConfigError(f"--steps {steps} is no multiple of --steps_per_epoch {each}.")
    return build_config({"epochs": steps // each}, config)
