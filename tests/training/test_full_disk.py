"""A disk that fills up in a training: a message, no leftovers, nothing lost, and an exact resume once there is room."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.loading.disk_cache import DiskCache, file_state
from regstudio.methods.affine import register_affine
from regstudio.methods.affine_cache import cached_affine
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.runs.events import EpochDone, RunFinished, StepDone, TrainEvent
from regstudio.runs.run import Run
from regstudio.training.trainer import train
from tests.small_disk import largest_file
from tests.training.whole_training import index_of, run_of, steps

Configs = Callable[..., TrainConfig]


def until_full(config: TrainConfig, fill: Callable[[Run], None]) -> list[TrainEvent]:
    """Train; the disk fills up at the second epoch's first step."""
    events: list[TrainEvent] = []
    for event in train(config, index_of(config)):
        events.append(event)
        if isinstance(event, StepDone) and event.epoch == 2 and event.step == 1:
            fill(run_of(events))
    return events


@pytest.mark.slow
@pytest.mark.parametrize("what", ["checkpoint", "events"])
def test_the_disk_fills_up(quick_config: Configs, what: str) -> None:
    config = quick_config(run_name="straight")
    straight = list(train(config, index_of(config)))
    config = quick_config(run_name="full")
    with ExitStack() as stack:

        def fill(run: Run) -> None:
            size = 20_000 if what == "checkpoint" else run.events_path.stat().st_size + 20
            stack.enter_context(largest_file(size))

        events = until_full(config, fill)
    run, end = run_of(events), events[-1]
    name = run.epoch_path(2) if what == "checkpoint" else run.events_path
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert f"{name}: cannot be written, as the disk is full." in end.message
    assert f"regstudio train --resume {run.path}" in end.message
    assert not [path for path in run.path.rglob(".*") if path.name != ".lock"]
    assert not run.epoch_path(2).exists()
    assert load_checkpoint(run.last_path).epoch == 1
    assert run.events_path.read_bytes().endswith(b"}\n")
    if what == "checkpoint":
        assert run.events()[-1] == end

    resumed = list(train(run.config(), index_of(config), run=run))
    assert isinstance(resumed[-1], RunFinished)
    assert resumed[-1].reason == "finished"
    assert steps(run.events()) == steps(straight)
    assert sum(isinstance(event, EpochDone) for event in run.events()) == 2
    first, second = (load_checkpoint(each.epoch_path(2)).weights for each in (run_of(straight), run))
    assert all(torch.equal(first[layer], second[layer]) for layer in first)


def test_a_full_disk_of_caches_stops_nothing(tmp_path: Path, image: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", image)
    state = file_state(tmp_path / "a.npy")
    assert state is not None
    cache = DiskCache(tmp_path / "decoded", 1.0, min_free_bytes=0)
    with largest_file(10):
        for _ in range(2):
            assert np.array_equal(cache.get("reader", tmp_path / "a.npy", state, np.load), image)
            found = cached_affine(image, image, tmp_path / "affine", search=register_affine)
            assert found.matrix == pytest.approx(np.eye(2, 3), abs=1e-3)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a.npy"]
