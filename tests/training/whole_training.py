"""Helpers that run a whole training and read its events."""

from collections.abc import Callable
from pathlib import Path

from regstudio.config import TrainConfig
from regstudio.data.folders.layout import DataIndex
from regstudio.runs.events import (
    RunStarted,
    StepDone,
    TrainEvent,
)
from regstudio.runs.run import Run, open_run
from regstudio.training.setup import check_data

Configs = Callable[..., TrainConfig]
# CorrMLP, which is many small layers, takes five times as long. A few steps at this rate move the image by pixels.
QUICK = {"network": "voxelmorph", "lr": 1e-2, "grad_weight": 0.1, "device": "cpu", "compare": False}


def index_of(config: TrainConfig) -> DataIndex:
    return check_data(config).index


def run_of(events: list[TrainEvent]) -> Run:
    started = events[0]
    assert isinstance(started, RunStarted)
    return open_run(Path(started.run))


def steps(events: list[TrainEvent]) -> list[tuple[int, int, dict[str, float]]]:
    return [(event.epoch, event.step, event.losses) for event in events if isinstance(event, StepDone)]
