import math
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig
from regstudio.data.layout import DataIndex
from regstudio.errors import CheckpointError, ConfigError, DataError, DeviceError, RunError
from regstudio.losses import Grad
from regstudio.networks.checkpoint import load_checkpoint, save_checkpoint
from regstudio.training.events import (
    CheckpointSaved,
    EpochDone,
    PairValidated,
    PreviewSaved,
    RunFinished,
    RunStarted,
    StepDone,
    TrainEvent,
)
from regstudio.training.runs import Run, open_run
from regstudio.training.setup import build, check_data
from regstudio.training.trainer import train
from regstudio.training.validation import register_pair

Configs = Callable[..., TrainConfig]


def index_of(config: TrainConfig) -> DataIndex:
    return check_data(config).index


def run_of(events: list[TrainEvent]) -> Run:
    started = events[0]
    assert isinstance(started, RunStarted)
    return open_run(Path(started.run))


def steps(events: list[TrainEvent]) -> list[tuple[int, int, dict[str, float]]]:
    return [(event.epoch, event.step, event.losses) for event in events if isinstance(event, StepDone)]


def test_a_whole_run(quick_config: Configs) -> None:
    config = quick_config()
    events = list(train(config, index_of(config)))
    run = run_of(events)
    assert [type(event) for event in events] == [
        RunStarted,
        *(2 * [*4 * [StepDone], *2 * [PairValidated], EpochDone, CheckpointSaved, PreviewSaved]),
        RunFinished,
    ]
    assert events[-1] == RunFinished(reason="finished", message="Training Finished")
    for step in (event for event in events if isinstance(event, StepDone)):
        assert step.losses["loss"] == pytest.approx(step.losses["ncc"] + step.losses["grad"], abs=1e-6)
    assert run.config() == config
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == [
        "best_model.pt",
        "epoch_001.pt",
        "epoch_002.pt",
        "last.pt",
    ]
    assert run.events() == events


def test_the_log_has_one_line_for_each_epoch_and_says_the_end(quick_config: Configs) -> None:
    config = quick_config()
    events = list(train(config, index_of(config)))
    lines = run_of(events).log_path.read_text().splitlines()
    epochs = [event for event in events if isinstance(event, EpochDone)]
    told = [line for line in lines if "Epoch 00" in line]
    assert len(told) == len(epochs) == 2
    for line, epoch in zip(told, epochs, strict=True):
        assert f"Epoch {epoch.epoch:03d}/002" in line
        assert f"{epoch.seconds:.1f} s" in line
        assert f"loss {epoch.losses['loss']:.5f}" in line
        assert f"Dice {epoch.metrics['dice']:.4f}" in line
        assert f"NJD {epoch.metrics['njd']:.1f}" in line
    assert lines[-1].endswith("Training Finished")


def test_epoch_means_are_those_of_its_steps_and_pairs(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    events = list(train(config, index_of(config)))
    epoch = next(event for event in events if isinstance(event, EpochDone))
    pairs = [event for event in events if isinstance(event, PairValidated)]
    for name, mean in epoch.losses.items():
        assert mean == pytest.approx(np.mean([losses[name] for _, _, losses in steps(events)]))
    assert epoch.metrics["dice"] == pytest.approx(np.mean([pair.dice for pair in pairs]))
    assert epoch.metrics["dice_before"] == pytest.approx(np.mean([pair.dice_before for pair in pairs]))
    assert epoch.metrics["njd_percent"] == pytest.approx(np.mean([pair.njd_percent for pair in pairs]))


def test_best_model_is_the_epoch_of_the_highest_dice(quick_config: Configs) -> None:
    config = quick_config(epochs=4, lr=0.01)
    events = list(train(config, index_of(config)))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    best = max(epochs, key=lambda event: event.metrics["dice"])
    run = run_of(events)
    assert load_checkpoint(run.best_path).epoch == best.epoch
    assert [event.epoch for event in epochs if event.best][-1] == best.epoch
    kept, own = load_checkpoint(run.best_path).weights, load_checkpoint(run.epoch_path(best.epoch)).weights
    assert all(torch.equal(kept[name], own[name]) for name in own)


def test_batches_steps_per_epoch_and_validation_freq(quick_config: Configs) -> None:
    config = quick_config(epochs=4, batch_size=2, steps_per_epoch=1, validation_freq=2)
    events = list(train(config, index_of(config)))
    assert [(epoch, step) for epoch, step, _ in steps(events)] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    validated = [event.epoch for event in events if isinstance(event, EpochDone) and event.metrics]
    assert validated == [2, 4]


def test_initial_epoch_counts_as_done(quick_config: Configs) -> None:
    config = quick_config(epochs=3, initial_epoch=2)
    events = list(train(config, index_of(config)))
    assert {epoch for epoch, _, _ in steps(events)} == {3}
    assert run_of(events).epoch_path(3).exists()


def test_validation_can_be_turned_off(quick_config: Configs) -> None:
    config = quick_config(epochs=1, run_validation=False)
    events = list(train(config, index_of(config)))
    assert not any(isinstance(event, PairValidated) for event in events)
    assert not run_of(events).best_path.exists()


def test_same_seed_same_losses_other_seed_others(quick_config: Configs) -> None:
    losses = []
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        config = quick_config(epochs=1, seed=seed, run_name=name)
        losses.append(steps(list(train(config, index_of(config)))))
    assert losses[0] == losses[1] != losses[2]


def straight_and_interrupted(
    quick_config: Configs, interrupt: Callable[[TrainConfig, threading.Event], Run], **values: object
) -> tuple[list[TrainEvent], Run, list[TrainEvent], Run]:
    config = quick_config(run_name="straight", epochs=3, **values)
    straight = list(train(config, index_of(config)))
    config = quick_config(run_name="interrupted", epochs=3, **values)
    run = interrupt(config, threading.Event())
    resumed = list(train(run.config(), index_of(config), run=run))
    return straight, run_of(straight), resumed, run


def assert_same_course(straight: list[TrainEvent], first: Run, resumed: list[TrainEvent], second: Run) -> None:
    """Losses, metrics and weights are equal bit for bit, and the interrupted run's record is one course."""
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


@pytest.mark.parametrize("after", [2, 4, 6, 13])
@pytest.mark.parametrize("batch_size", [1, 2])
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

    assert_same_course(*straight_and_interrupted(quick_config, stop, batch_size=batch_size))


@pytest.mark.parametrize("after", [3, 8, 12])
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
        assert_same_course(straight, first, resumed, second)


def test_previews_show_one_pair_as_each_epoch_registers_it(quick_config: Configs) -> None:
    config = quick_config()
    events = list(train(config, index_of(config)))
    run = run_of(events)
    with np.load(run.pair_path) as pair:
        assert pair["fixed"].shape == pair["moving"].shape == pair["moving_label"].shape == (48, 48)
        assert (pair["fixed"] != pair["moving"]).any()
    assert [event.epoch for event in events if isinstance(event, PreviewSaved)] == [1, 2]
    model = load_checkpoint(run.epoch_path(2)).model().eval()
    parts = replace(build(config, index_of(config)), model=model)
    with np.load(run.preview_path(2)) as preview:
        np.testing.assert_allclose(preview["flow"], register_pair(parts, parts.preview)["flow"], atol=0.01)
        assert preview["warped"].dtype == np.uint8
        assert set(np.unique(preview["warped_label"])) <= set(range(6))


def test_saving_on_demand_goes_on(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    save = threading.Event()
    events = []
    for event in train(config, index_of(config), save=save):
        events.append(event)
        if len(events) == 2:
            save.set()
    assert [(event.epoch, event.step) for event in events if isinstance(event, CheckpointSaved)] == [(0, 1), (1, 0)]


def test_safety_copies_within_an_epoch(quick_config: Configs) -> None:
    config = quick_config(epochs=1, save_minutes=1e-9)
    saved = [event for event in train(config, index_of(config)) if isinstance(event, CheckpointSaved)]
    assert [event.step for event in saved] == [1, 2, 3, 4, 0]


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


def test_a_name_that_is_taken_is_refused_and_nothing_lost(quick_config: Configs) -> None:
    config = quick_config(epochs=1, run_name="mine")
    index = index_of(config)
    run = run_of(list(train(config, index)))
    before = run.events_path.read_bytes()
    with pytest.raises(RunError, match=r"Choose another --run_name, or .* --resume"):
        next(train(config, index))
    assert run.events_path.read_bytes() == before


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(
    quick_config: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config()
    calls = iter(range(100))

    honest = Grad.forward
    monkeypatch.setattr(
        Grad, "forward", lambda self, flow: honest(self, flow) * (math.nan if next(calls) == 5 else 1.0)
    )
    events = list(train(config, index_of(config)))
    run, end = run_of(events), events[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert "Epoch 2, step 2" in end.message
    assert "grad nan" in end.message
    assert "--lr" in end.message
    good = load_checkpoint(run.last_path)
    assert good.epoch == 1
    assert all(tensor.isfinite().all() for tensor in good.weights.values())
    failed = load_checkpoint(run.failed_path)
    assert math.isnan(failed.training["losses"]["grad"])
    assert failed.training["moving_image"].shape == (1, 1, 48, 48)
    assert all(tensor.isfinite().all() for tensor in failed.weights.values())
    assert end.message.splitlines()[0] in run.log_path.read_text()


def test_a_file_that_breaks_during_training_ends_the_run_with_its_name(
    quick_config: Configs, demo: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo, data)
    config = quick_config(data_base_dir=data, cache_gb=0)
    index = index_of(config)
    generator = train(config, index)
    started = next(generator)
    for case in index.train:
        case.image.write_bytes(b"gone")
    end = list(generator)[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(end, RunFinished)
    assert end.reason == "failed"
    assert any(str(case.image) in end.message for case in index.train)


def test_too_little_memory_says_what_to_do(quick_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*args: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 20.00 GiB.")

    config = quick_config()
    monkeypatch.setattr("regstudio.training.setup.Losses.__call__", exhaust)
    end = list(train(config, index_of(config)))[-1]
    assert isinstance(end, RunFinished)
    assert "too little memory" in end.message
    assert "--batch_size" in end.message


def test_a_fault_of_the_program_is_recorded_and_raised(quick_config: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*args: object) -> None:
        raise ZeroDivisionError("oops")

    config = quick_config()
    monkeypatch.setattr("regstudio.training.setup.Losses.__call__", fault)
    generator = train(config, index_of(config))
    run = run_of([next(generator)])
    with pytest.raises(ZeroDivisionError):
        next(generator)
    assert run.events()[-1] == RunFinished(reason="failed", message="ZeroDivisionError: oops")


def test_fewer_images_than_the_batch_size(quick_config: Configs) -> None:
    config = quick_config(batch_size=5)
    with pytest.raises(DataError, match=r"4 images for batches of 5.*--batch_size"):
        next(train(config, index_of(config)))


def test_validation_wanted_without_images(quick_config: Configs) -> None:
    config = quick_config(run_validation=True)
    index = index_of(config)
    with pytest.raises(ConfigError, match="no validation images"):
        next(train(config, DataIndex(**{**vars(index), "validation": ()})))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_not_there(quick_config: Configs) -> None:
    config = quick_config(device="cuda")
    with pytest.raises(DeviceError, match="no CUDA device is there"):
        next(train(config, index_of(config)))


def test_load_model_starts_from_our_checkpoint_or_a_plain_state_dict(quick_config: Configs, tmp_path: Path) -> None:
    config = quick_config(epochs=1)
    index = index_of(config)
    run = run_of(list(train(config, index)))
    plain = tmp_path / "plain.pt"
    torch.save({f"module.{name}": tensor for name, tensor in load_checkpoint(run.best_path).weights.items()}, plain)
    for path in (run.best_path, plain):
        started = build(quick_config(load_model=path), index).model.state_dict()
        wanted = load_checkpoint(run.best_path).weights
        assert started.keys() == wanted.keys()
        assert all(torch.equal(started[name], wanted[name]) for name in wanted)


def test_load_model_that_does_not_fit_names_the_layers(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    index = index_of(config)
    run = run_of(list(train(config, index)))
    wider = quick_config(load_model=run.best_path, decoder_channels=8)
    with pytest.raises(CheckpointError, match=r"expands\.0\.conv\.bias is \(4,\), the network has \(8,\)"):
        next(train(wider, index))


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trains_on_cuda(quick_config: Configs) -> None:
    config = quick_config(device="cuda")
    end = list(train(config, index_of(config)))[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "finished"
