"""Runs whose events are written by hand, for tests of what pages are told of them."""

from collections.abc import Callable
from typing import Any

from regstudio.config import TrainConfig
from regstudio.runs.events import EpochDone, RunStarted, StepDone, TrainEvent
from regstudio.runs.run import Run, create_run
from regstudio.studio.studio import Studio

Configs = Callable[..., TrainConfig]
STEPS = 100


def started(**values: Any) -> RunStarted:
    usual = {"epochs": 300, "steps_per_epoch": STEPS, "epoch": 0, "step": 0, "resumed": False}
    facts = {"run": "x", "device": "cpu (1 thread)", "parameters": 1, "train_cases": 100, "validation_cases": 2}
    return RunStarted(**{**facts, **usual, **values})


def step(number: int, loss: float = 0.5) -> StepDone:
    epoch, place = divmod(number, STEPS)
    return StepDone(epoch=epoch + 1, step=place + 1, losses={"loss": loss, "ncc": -0.5, "grad": 0.1}, seconds=0.1)


def epoch_done(number: int, dice: float, best: bool) -> EpochDone:
    return EpochDone(epoch=number, epochs=300, seconds=20.0, losses={"loss": 1.0}, metrics={"dice": dice}, best=best)


def written(studio: Studio, *events: TrainEvent, name: str = "r", configs: Configs) -> Run:
    run = create_run(configs(run_name=name, runs_dir=studio.runs_dir))
    for event in events:
        run.append(event)
    return run


def asking(answer: dict[str, Any], run: str = "r") -> dict[str, Any]:
    return {"run": run, "version": answer["version"], **answer["counts"]}
