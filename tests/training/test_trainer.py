import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import TrainConfig, build_config
from regstudio.data.phantom import make_demo
from regstudio.errors import CheckpointError, RunError
from regstudio.networks.checkpoint import Checkpoint, load_checkpoint
from regstudio.runs.events import (
    CheckpointSaved,
    EpochDone,
    PairValidated,
    PreviewSaved,
    RunFinished,
    RunStarted,
    StepDone,
)
from regstudio.training import checkpointing
from regstudio.training.setup import build
from regstudio.training.trainer import train
from regstudio.training.validation import register_case
from tests.training.whole_training import index_of, run_of, steps

Configs = Callable[..., TrainConfig]


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
        assert step.losses["loss"] == pytest.approx(step.losses["ncc"] + 0.1 * step.losses["grad"], abs=1e-6)
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
    epoch_lines = [line for line in lines if "Epoch 00" in line]
    assert len(epoch_lines) == len(epochs) == 2
    for line, epoch in zip(epoch_lines, epochs, strict=True):
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
    config = quick_config(epochs=4)
    events = list(train(config, index_of(config)))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert len({event.metrics["dice"] for event in epochs}) > 1  # otherwise any would be the best
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


@pytest.mark.slow
def test_previews_show_one_pair_as_each_epoch_registers_it(quick_config: Configs) -> None:
    config = quick_config()
    events = list(train(config, index_of(config)))
    run = run_of(events)
    with np.load(run.pair_path) as pair:
        assert pair["fixed"].shape == pair["moving"].shape == pair["moving_label"].shape == (48, 48)
        assert (pair["fixed"] != pair["moving"]).any()
    assert [event.epoch for event in events if isinstance(event, PreviewSaved)] == [1, 2]
    model = load_checkpoint(run.epoch_path(2)).model().eval()
    parts = build(config, index_of(config))
    parts.learner.model.load_state_dict(model.state_dict())
    with np.load(run.preview_path(2)) as preview:
        np.testing.assert_allclose(preview["flow"], register_case(parts, parts.preview).flow, atol=0.01)
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
    assert events[-1] == RunFinished(reason="finished", message="Training Finished")
    assert [(event.epoch, event.step) for event in events if isinstance(event, CheckpointSaved)] == [(0, 1), (1, 0)]


def test_safety_copies_within_an_epoch(quick_config: Configs) -> None:
    config = quick_config(epochs=1, save_minutes=1e-9)
    saved = [event for event in train(config, index_of(config)) if isinstance(event, CheckpointSaved)]
    assert [event.step for event in saved] == [1, 2, 3, 4, 0]


def test_a_name_that_is_taken_is_refused_and_nothing_lost(quick_config: Configs) -> None:
    config = quick_config(epochs=1, run_name="mine")
    index = index_of(config)
    run = run_of(list(train(config, index)))
    before = run.events_path.read_bytes()
    with pytest.raises(RunError, match=r"Choose another --run_name, or .* --resume"):
        next(train(config, index))
    assert run.events_path.read_bytes() == before


def test_load_model_starts_from_our_checkpoint_or_a_plain_state_dict(quick_config: Configs, tmp_path: Path) -> None:
    config = quick_config(epochs=1)
    index = index_of(config)
    run = run_of(list(train(config, index)))
    plain = tmp_path / "plain.pt"
    torch.save({f"module.{name}": tensor for name, tensor in load_checkpoint(run.best_path).weights.items()}, plain)
    for path in (run.best_path, plain):
        started = build(quick_config(load_model=path), index).learner.model.state_dict()
        wanted = load_checkpoint(run.best_path).weights
        assert started.keys() == wanted.keys()
        assert all(torch.equal(started[name], wanted[name]) for name in wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trains_on_cuda(quick_config: Configs) -> None:
    config = quick_config(device="cuda")
    end = list(train(config, index_of(config)))[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "finished"


@pytest.mark.parametrize(("size", "coarse"), [(64, 2), (48, 1)])  # no network takes images of 24x24
def test_events_tell_the_image_scale(quick_config: Configs, tmp_path: Path, size: int, coarse: int) -> None:
    make_demo(tmp_path / "data", size=size, train=1, validation=1)
    config = quick_config(data_base_dir=tmp_path / "data", epochs=3, start_scale=2, coarse_share=0.5, batch_size=1)
    config = build_config({"run_validation": False, "total_steps": 6}, config)
    events = list(train(config, index_of(config)))
    assert [event.scale for event in events if isinstance(event, StepDone)] == [coarse] * 3 + [1] * 3
    assert [event.scale for event in events if isinstance(event, EpochDone)] == [coarse, coarse, 1]
    assert isinstance(events[0], RunStarted)
    assert events[0].scale_steps == ({"2": 3, "1": 3} if coarse == 2 else {"1": 6})


def test_a_pause_does_not_count_as_time_of_the_epoch(quick_config: Configs) -> None:
    config = quick_config(epochs=1)
    for event in train(config, index_of(config)):
        if isinstance(event, (StepDone, PairValidated)):
            time.sleep(0.5)  # six times
        if isinstance(event, EpochDone):
            assert event.seconds < 2.5


@pytest.mark.parametrize(("keep", "left"), [("2", [2, 3]), ("best", [])])
def test_checkpoints_of_old_epochs_go_if_so_wished(quick_config: Configs, keep: str, left: list[int]) -> None:
    config = quick_config(epochs=3, keep_checkpoints=keep)
    events = list(train(config, index_of(config)))
    run = run_of(events)
    names = sorted(path.name for path in run.last_path.parent.iterdir())
    assert names == sorted(["best_model.pt", "last.pt", *(run.epoch_path(epoch).name for epoch in left)])
    assert load_checkpoint(run.last_path).epoch == 3
    for event in events:
        if isinstance(event, CheckpointSaved):
            assert event.path.endswith("last.pt") == (keep == "best")


def test_old_checkpoints_go_only_when_the_new_ones_are_written(
    quick_config: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick_config(epochs=3, keep_checkpoints="1")
    there: list[list[str]] = []
    written = checkpointing.save_checkpoint

    def save(path: Path, checkpoint: Checkpoint) -> None:
        there.append([path.name, *sorted(other.name for other in path.parent.glob("epoch_*.pt"))])
        if path.name == "epoch_003.pt":
            raise CheckpointError("cannot be written")
        written(path, checkpoint)

    monkeypatch.setattr(checkpointing, "save_checkpoint", save)
    events = list(train(config, index_of(config)))
    assert ["last.pt", "epoch_001.pt", "epoch_002.pt"] in there
    assert events[-1] == RunFinished(reason="failed", message="cannot be written")
    run = run_of(events)
    assert run.epoch_path(2).exists()
    assert load_checkpoint(run.last_path).epoch == 2
