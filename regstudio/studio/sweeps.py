"""Sweeps from the page: their runs wait in line, and what they came to is shown as a table and a plot."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regstudio.config import TrainConfig, settings
from regstudio.errors import ConfigError, RunError
from regstudio.runs.sweep import (
    SUFFIX,
    folder_of,
    may_vary,
    outcomes,
    plan_sweep,
    read_sweep,
    to_rows,
    values_of,
    write_sweep,
)
from regstudio.studio.studio import Studio
from regstudio.studio.training_control import fresh_name
from regstudio.studio.waiting_line import WaitingLine


def varying() -> list[str]:
    """Return the settings that a sweep may vary, those of the loss first."""
    names = [setting for setting in settings() if may_vary(setting)]
    return [setting.name for setting in sorted(names, key=lambda setting: setting.section != "loss")]


def begin(studio: Studio, line: WaitingLine, config: TrainConfig, asked: Mapping[str, str]) -> str:
    """Put a run for each combination of the values in line; return the sweep's name.

    `asked` holds the values of each setting, with commas; raises ConfigError where one cannot be.
    """
    varied = {name: values_of(name, text) for name, text in asked.items() if name and text.strip()}
    if not varied:
        raise ConfigError("A sweep varies at least one setting: choose it, and name its values, as in 0.5, 1, 2.")
    name = config.run.run_name or "sweep"
    name = fresh_name(studio, name, {each.removesuffix(SUFFIX) for each in names(studio)}) or name
    sweep, configs = plan_sweep(name, config, varied)
    named = line.add(configs)
    own = replace(sweep, runs=dict(zip(named, sweep.runs.values(), strict=True)))
    write_sweep(folder_of(studio.runs_dir, name), own)
    return name + SUFFIX


def names(studio: Studio) -> list[str]:
    """Return the folders of the sweeps, the newest first."""
    if not studio.runs_dir.is_dir():
        return []
    found = [path for path in studio.runs_dir.glob(f"*{SUFFIX}") if (path / "sweep.json").is_file()]
    newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.name for path in newest if path.resolve().parent == studio.runs_dir]


def table(studio: Studio, name: str) -> list[list[Any]]:
    """Return heads and rows of what a sweep came to by now; raises RunError where there is no such sweep."""
    sweep = read_sweep(_folder(studio, name))
    known = {run.name: run for run in studio.runs()}  # read once, and again only where a run has changed
    return to_rows(sweep, outcomes(sweep, known.get))


def plot(studio: Studio, name: str) -> Path | None:
    """Write table and plot of a sweep into its folder; return the plot, None before two of its runs have a score."""
    from regstudio.evaluation.sweeps import write_outcome

    folder = _folder(studio, name)
    written = write_outcome(read_sweep(folder), studio.runs_dir, folder)
    return next((path for path in written if path.suffix == ".png"), None)


def _folder(studio: Studio, name: str) -> Path:
    if name not in names(studio):
        raise RunError(f"{name}: there is no such sweep in {studio.runs_dir}.")
    return studio.runs_dir / name
