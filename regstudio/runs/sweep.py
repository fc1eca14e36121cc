"""A sweep: runs that differ in a few settings, and what each came to; NAME_sweep/ in the runs folder records it."""

import csv
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from regstudio.config import Setting, TrainConfig, build_config, settings
from regstudio.errors import ConfigError, RunError
from regstudio.files import write_text
from regstudio.runs.catalogue import RunSummary, summarise_run
from regstudio.runs.run import Run
from regstudio.schema import Name, SchemaError, parse, read_bytes

MAX_RUNS = 50
SUFFIX = "_sweep"  # of the folder
_MISSING = "not yet"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The settings that differ, and the names of the runs with the values of these settings, as text."""

    settings: tuple[Name, ...]
    runs: dict[Name, tuple[Name, ...]]


_SWEEP = TypeAdapter(Sweep)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one run of a sweep came to: `score` is its best Dice or, without labels, landmarks' distance in pixels."""

    run: str
    values: tuple[str, ...]
    state: str
    score: float | None
    score_name: str
    folds_percent: float | None
    seconds: float | None


def may_vary(setting: Setting) -> bool:
    """Whether a sweep may vary a setting: not what says where files lie."""
    return setting.section not in ("layout", "run") and setting.type is not Path and setting.name != "device"


def values_of(name: str, text: str) -> list[str]:
    """Return the values of a setting in a text, with commas; raises ConfigError where a sweep cannot vary it."""
    if name not in {setting.name for setting in settings() if may_vary(setting)}:
        raise ConfigError(f"{name}: no setting that a sweep can vary. Take a number or a choice, such as grad_weight.")
    values = [value.strip() for value in text.split(",") if value.strip()]
    if not values:
        raise ConfigError(f"{name}: has no values. Name them with commas, as in 0.5, 1, 2.")
    return values


def plan_sweep(name: str, base: TrainConfig, varied: Mapping[str, Sequence[str]]) -> tuple[Sweep, list[TrainConfig]]:
    """Return a sweep over all combinations of the values of settings, and the settings of each run.

    Raises ConfigError for a value out of bounds, and for more than MAX_RUNS runs.

        sweep, configs = plan_sweep("smooth", build_config({"epochs": 10}), {"grad_weight": ["0.5", "1", "2"]})
    """
    points = list(itertools.product(*varied.values()))
    if not varied or len(points) > MAX_RUNS:
        raise ConfigError(f"A sweep makes 1 to {MAX_RUNS} runs; these would be {len(points) if varied else 0}.")
    section_of = {setting.name: setting.section for setting in settings()}
    runs: dict[str, tuple[str, ...]] = {}
    configs: dict[str, TrainConfig] = {}
    for point in points:
        config = build_config(dict(zip(varied, point, strict=True)), base)
        shown = tuple(_shown(getattr(getattr(config, section_of[key]), key)) for key in varied)
        run = "_".join([name, *(f"{key}={value}" for key, value in zip(varied, shown, strict=True))])
        configs[run], runs[run] = build_config({"run_name": run}, config), shown
    return Sweep(settings=tuple(varied), runs=runs), list(configs.values())


def folder_of(runs_dir: Path, name: str) -> Path:
    """Return the folder that records the sweep of a name."""
    return runs_dir / f"{name}{SUFFIX}"


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Write sweep.json, which says what the sweep is."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "sweep.json", orjson.dumps(asdict(sweep), option=orjson.OPT_INDENT_2).decode() + "\n")


def read_sweep(folder: Path) -> Sweep:
    """Read sweep.json; raises RunError where it is missing or damaged."""
    try:
        return parse(read_bytes(folder / "sweep.json"), _SWEEP)
    except (OSError, SchemaError) as error:
        raise RunError(f"{folder}: holds no sweep ({error}).") from None


def outcomes(sweep: Sweep, summary_of: Callable[[str], RunSummary | None]) -> list[Outcome]:
    """Return what each run of a sweep came to, by now; `summary_of` returns the summary of a run by its name."""
    return [_outcome(summary_of(name), name, values) for name, values in sweep.runs.items()]


def summaries_in(runs_dir: Path) -> Callable[[str], RunSummary | None]:
    """Return the `summary_of` that reads the runs of a folder; None where there is no such run."""

    def summary_of(name: str) -> RunSummary | None:
        try:
            return summarise_run(Run(runs_dir / name))
        except RunError:
            return None

    return summary_of


def to_rows(sweep: Sweep, found: Sequence[Outcome]) -> list[list[Any]]:
    """Return the table: its heads, then a row for each run."""
    score = next((outcome.score_name for outcome in found if outcome.score_name), "Dice")
    heads = ["run", *sweep.settings, "state", score, "folds %", "seconds"]
    rows = []
    for outcome in found:
        numbers = ((outcome.score, 4), (outcome.folds_percent, 3), (outcome.seconds, 0))
        rows.append([outcome.run, *outcome.values, outcome.state, *(_number(*number) for number in numbers)])
    return [heads, *rows]


def write_table(folder: Path, rows: Sequence[Sequence[Any]]) -> Path:
    """Write the table to table.csv; return its path."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(folder / "table.csv", text.getvalue())
    return folder / "table.csv"


def _outcome(summary: RunSummary | None, name: str, values: tuple[str, ...]) -> Outcome:
    if summary is None:
        return Outcome(
            run=name, values=values, state=_MISSING, score=None, score_name="", folds_percent=None, seconds=None
        )
    by_tre = summary.best_dice is None and summary.best_tre is not None
    return Outcome(
        run=name,
        values=values,
        state=summary.state,
        score=summary.best_tre if by_tre else summary.best_dice,
        score_name="TRE" if by_tre else "Dice" if summary.best_dice is not None else "",
        folds_percent=summary.njd_percent,
        seconds=summary.seconds,
    )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(value, digits)
