import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.folders.layout import DataIndex
from regstudio.errors import RunError
from regstudio.networks.checkpoint import load_checkpoint, save_checkpoint
from regstudio.runs.events import (
    EpochDone,
    RunFinished,
    RunStarted,
    TrainEvent,
)
from regstudio.runs.run import Run
from regstudio.training.trainer import train
from tests.training.whole_training import index_of, run_of, steps

Configs = Callable[..., TrainConfig]


def straight_and_interrupted(
    quick_config: Configs, interrupt: Callable[[TrainConfig, threading.Event], Run], **values: object
) -> tuple[list[TrainEvent], Run, list[TrainEvent], Run]:
    config = quick_config(run_name="straight", epochs=3, **values)
    straight = list(train(config, index_of(config)))
    config = quick_config(run_name="interrupted", epochs=3, **values)
    run = interrupt(config, threading.Event())
    resumed = list(train(run.config(), index_of(config), run=run))
    return straight, run_of(straight), resumed, run


def assert_same_training(straight: list[TrainEvent], first: Run, resumed: list[TrainEvent], second: Run) -> None:
    """Losses, metrics and weights are equal bit for bit, and the interrupted run's record is that of one training."""
    assert isinstance(resumed[0], RunStarted)
    assert resumed[0].resumed
    assert steps(second.events()) == steps(straight)
    epochs = [
        [
            (event.epoch, event.losses, event.metrics, event.best)
            for event in run.events()
            if isinstance(event, EpochDone)
        ]
        for run in (first, second)
    ]
    assert epochs[0] == epochs[1]
    for name in ("epoch_003.pt", "best_model.pt", "last.pt"):
        wanted, got = (load_checkpoint(run.path / "checkpoints" / name) for run in (first, second))
        assert wanted.epoch == got.epoch
        assert all(torch.equal(wanted.weights[layer], got.weights[layer]) for layer in wanted.weights)


@pytest.mark.parametrize(
    ("after", "batch_size"),
    [(2, 1), *(pytest.param(*at, marks=pytest.mark.slow) for at in [(4, 1), (6, 1), (13, 1), (2, 2)])],
)
def test_stopped_and_resumed_equals_straight_through(quick_config: Configs, after: int, batch_size: int) -> None:
    """Stops early in an epoch, at its last step, in the middle of its validation and in a later epoch."""

    def stop(config: TrainConfig, stop: threading.Event) -> Run:
        events = []
        for event in train(config, index_of(config), stop=stop):
            events.append(event)
            if len(events) == after:
                stop.set()
        end = events[-1]
        assert isinstance(end, RunFinished)
        assert end.reason == "stopped"
        assert f"regstudio train --resume {run_of(events).path}" in end.message
        return run_of(events)

    assert_same_training(*straight_and_interrupted(quick_config, stop, batch_size=batch_size))


@pytest.mark.slow
@pytest.mark.parametrize("after", [3, 12])
def test_killed_and_resumed_equals_straight_through(quick_config: Configs, after: int) -> None:
    """A kill saves nothing: the run goes on from the last epoch, or from the start, and does the rest again."""

    def kill(config: TrainConfig, stop: threading.Event) -> Run:
        generator = train(config, index_of(config))
        events = list(islice(generator, after))
        generator.close()
        return run_of(events)

    straight, first, resumed, second = straight_and_interrupted(quick_config, kill)
    if after < 8:  # the first epoch was not over: nothing to resume from
        assert isinstance(resumed[0], RunStarted)
        assert not resumed[0].resumed
        assert steps(second.events()) == steps(straight)
    else:
        assert_same_training(straight, first, resumed, second)


def test_resuming_with_more_epochs_trains_on(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    run = run_of(list(train(config, index_of(config))))
    events = list(train(quick_config(epochs=2), index_of(config), run=run))
    assert {epoch for epoch, _, _ in steps(events)} == {2}


def test_a_run_with_all_its_epochs_done_says_how_to_train_on(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    index = index_of(config)
    run = run_of(list(train(config, index)))
    before = run.events_path.read_bytes()
    with pytest.raises(RunError, match=r"1 epochs are done already\. Train on with a larger --epochs"):
        next(train(config, index, run=run))
    assert run.events_path.read_bytes() == before


def test_resuming_refuses_other_training_images(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    index = index_of(config)
    run = run_of(list(train(config, index)))
    fewer = DataIndex(**{**vars(index), "train": index.train[1:]})
    with pytest.raises(RunError, match="not those it was started with"):
        next(train(config, fewer, run=run))


def test_a_second_trainer_is_kept_out(quick_config: Configs) -> None:
    config = quick_config()
    index = index_of(config)
    first = train(config, index)
    run = run_of([next(first)])
    with pytest.raises(RunError, match="another process is training this run"):
        next(train(config, index, run=run))
    first.close()


@pytest.mark.slow
def test_resuming_does_not_need_the_model_it_started_from(quick_config: Configs, tmp_path: Path) -> None:
    config = quick_config(epochs=1)
    index = index_of(config)
    first = run_of(list(train(config, index)))
    start = tmp_path / "start.pt"
    save_checkpoint(start, load_checkpoint(first.best_path))
    second = run_of(list(train(quick_config(epochs=1, load_model=start), index)))
    start.unlink()
    end = list(train(quick_config(epochs=2, load_model=start), index, run=second))[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "finished"


def test_a_run_of_0_1_goes_on_by_its_own_order_of_axes(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    run = run_of(list(train(config, index_of(config))))
    assert load_checkpoint(run.last_path).axes == "itk"
    content = torch.load(run.last_path, weights_only=True)
    del content["axes"], content["sha256"]
    torch.save({**content, "regstudio_checkpoint": 1}, run.last_path)
    longer = quick_config(run_name=run.path.name, epochs=2)
    events = list(train(longer, index_of(longer), run=run))
    assert isinstance(events[-1], RunFinished)
    assert events[-1].reason == "finished"
    assert load_checkpoint(run.last_path).axes == "nibabel"
