"""Settings of a training: Dice loss, number of steps, EMA weights, presets, and exact resume with all of them."""

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regstudio.config import PRESETS, TrainConfig
from regstudio.config.presets import GENERAL_SHAPE
from regstudio.data.folders.layout import DataIndex
from regstudio.data.phantom import make_demo
from regstudio.data.pictures.writing import write_label
from regstudio.errors import ConfigError
from regstudio.networks.build import build_network
from regstudio.networks.checkpoint import load_checkpoint
from regstudio.networks.passes import full_velocity
from regstudio.networks.voxelmorph import VoxelMorph
from regstudio.runs.events import RunFinished, RunStarted
from regstudio.runs.run import Run
from regstudio.training.setup import build
from regstudio.training.trainer import train
from tests.training.test_resuming import assert_same_training, straight_and_interrupted
from tests.training.whole_training import index_of, run_of, steps

Configs = Callable[..., TrainConfig]
SMALL = {"network": "corrmlp", "encoder_channels": 2, "decoder_channels": 4}
EVERYTHING = {
    "affine": "auto",
    "transform": "svf",
    "lr_schedule": "cosine",
    "warmup_steps": 2,
    "start_scale": 2,
    "coarse_share": 0.5,
    "ema": 0.9,
    "augment_affine": 1.0,
    "augment_smooth": 1.0,
    "augment_intensity": 1.0,
    "both_directions": True,
    "dice_weight": 1.0,
    "fold_weight": 1.0,
    "total_steps": 9,
}
IN_PASSES = {"start_scale": 1, "network_side": 64, "passes": 2, "teacher_weight": 0.2}


@pytest.fixture(scope="module")
def at_64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training images and one to validate on, of 64 x 64."""
    folder = tmp_path_factory.mktemp("at_64")
    make_demo(folder, size=64, train=3, validation=1)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("shared_cache")
@pytest.mark.parametrize(("after", "size"), [(2, {}), (5, {}), (5, IN_PASSES)])
def test_a_run_with_all_settings_resumes_exactly(
    quick_config: Configs, at_64: Path, tmp_path: Path, after: int, size: dict[str, float]
) -> None:
    """EMA weights, cosine schedule, coarse to fine, all augmentations, Dice loss and affine maps, at 64 x 64."""

    def stop(config: TrainConfig, stop: threading.Event) -> Run:
        events = []
        for event in train(config, index_of(config), stop=stop):
            events.append(event)
            if len(steps(events)) == after:
                stop.set()
        assert isinstance(events[-1], RunFinished)
        assert events[-1].reason == "stopped"
        return run_of(events)

    values = {**EVERYTHING, **size, "data_base_dir": at_64}
    if "teacher_weight" in size:
        torch.save(
            build_network(transform="svf", encoder_channels=2, decoder_channels=4).state_dict(), tmp_path / "w.pt"
        )
        values |= {"load_model": tmp_path / "w.pt", "network": "corrmlp", "encoder_channels": 2, "decoder_channels": 4}
    straight, first, resumed, second = straight_and_interrupted(quick_config, stop, **values)
    assert len(steps(straight)) == 9
    assert_same_training(straight, first, resumed, second)


@pytest.mark.slow
def test_what_is_saved_are_the_averaged_weights(quick_config: Configs) -> None:
    config = quick_config(ema=0.9, lr=0.01)
    run = run_of(list(train(config, index_of(config))))
    last = load_checkpoint(run.last_path)
    assert all(torch.equal(last.weights[name], w) for name, w in load_checkpoint(run.epoch_path(2)).weights.items())
    differences = [(last.weights[name] - w).abs().max() for name, w in last.training["weights"].items()]
    assert max(differences) > 1e-4
    assert last.training["averaged_steps"] == 8


@pytest.mark.parametrize(("total", "each"), [(20, 10), (3, 2), (8, 4), (1, 1)])
def test_a_number_of_steps_whatever_the_number_of_images(quick_config: Configs, total: int, each: int) -> None:
    """Epochs that are longer than the data set's 4 images, shorter, and as long."""
    config = quick_config(total_steps=total, steps_per_epoch=1, run_validation=False)
    events = list(train(config, index_of(config)))
    assert [(epoch, step) for epoch, step, _ in steps(events)] == [
        (epoch, step) for epoch in (1, 2) for step in range(1, each + 1)
    ]
    assert isinstance(events[0], RunStarted)
    assert (events[0].steps_per_epoch, events[0].train_cases) == (each, 4)


def test_an_epoch_longer_than_the_data_set_takes_each_image_equally_often(quick_config: Configs) -> None:
    config = quick_config(total_steps=24, run_validation=False)
    parts = build(config, index_of(config))
    images = [parts.image_loader(case.image) for case in parts.training]
    order = [
        next(k for k, image in enumerate(images) if np.array_equal(image, batch["moving_image"][0].numpy()))
        for batch in parts.loader.epoch(0)
    ]
    assert len(order) == 12
    assert all(sorted(order[start : start + 4]) == [0, 1, 2, 3] for start in (0, 4, 8))


def test_the_schedule_is_over_all_steps(quick_config: Configs) -> None:
    config = quick_config(epochs=5, total_steps=20, lr_schedule="cosine", start_scale=2)
    schedule = build(config, index_of(config)).learner.schedule
    assert schedule.total == 20
    config = quick_config(epochs=5, batch_size=2, steps_per_epoch=7)
    assert build(config, index_of(config)).learner.schedule.total == 5 * 2


def partly_labelled(index: DataIndex) -> DataIndex:
    cases = tuple(replace(case, label=None) if number % 2 else case for number, case in enumerate(index.train))
    assert {case.label is None for case in cases} == {True, False}
    return replace(index, train=cases)


def test_data_with_labels_on_some_images_trains_on_them(quick_config: Configs) -> None:
    config = quick_config(epochs=1, dice_weight=1.0)
    index = partly_labelled(index_of(config))
    unlabelled = sum(case.label is None for case in index.train)
    recorded = steps(list(train(config, index)))
    assert len(recorded) == 4
    assert sum(losses["dice_loss"] == 0 for _, _, losses in recorded) == unlabelled
    assert all(0.05 < losses["dice_loss"] < 1 for _, _, losses in recorded if losses["dice_loss"])


def test_labels_wanted_where_there_are_none(quick_config: Configs) -> None:
    config = quick_config(dice_weight=1.0)
    index = index_of(config)
    assert index.atlas is not None
    bare = tuple(replace(case, label=None) for case in index.train)
    for other in (replace(index, train=bare), replace(index, atlas=replace(index.atlas, label=None))):
        with pytest.raises(ConfigError, match=r"dice_weight is 1, but there are no labels.*fixed_seg/.*moving_seg/"):
            next(train(config, other))


def test_an_atlas_label_without_ids(quick_config: Configs, tmp_path: Path) -> None:
    config = quick_config(dice_weight=1.0)
    index = index_of(config)
    assert index.atlas is not None
    write_label(tmp_path / "empty.png", np.zeros((48, 48), np.uint8))
    empty = replace(index, atlas=replace(index.atlas, label=tmp_path / "empty.png"))
    with pytest.raises(ConfigError, match=r"empty\.png holds background alone"):
        next(train(config, empty))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast", "best"])
def test_the_presets_train(quick_config: Configs, name: str) -> None:
    """With a smaller network than the general one, on smaller images."""
    values = {**PRESETS[name].values, "network_side": 64, "passes": 2}
    values |= {"load_model": None, "teacher_weight": 0.0}
    config = quick_config(**{**SMALL, **values, "epochs": 2, "total_steps": 4})
    events = list(train(config, index_of(config)))
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert end.reason == "finished"
    model = load_checkpoint(run_of(events).best_path).model()
    assert (model.transform, model.network_side, model.passes) == ("svf", 64, 2)


@pytest.mark.slow
def test_the_fast_training_starts_where_the_general_network_is(quick_config: Configs) -> None:
    config = quick_config(**PRESETS["fast"].values, network="corrmlp")
    learner = build(config, index_of(config)).learner
    fixed, moving = torch.rand(2, 1, 1, 96, 80).unbind()
    with torch.no_grad():
        expected = full_velocity(load_checkpoint("general").model(), fixed, moving)
        assert torch.equal(learner.averaged.predict(fixed, moving).field, expected)
    assert load_checkpoint("general").network.items() >= GENERAL_SHAPE.items()


def test_a_teacher_needs_a_network_to_start_from(quick_config: Configs) -> None:
    config = quick_config(teacher_weight=0.1)
    with pytest.raises(ConfigError, match=r"Give one with --load_model, or set --teacher_weight 0"):
        next(train(config, index_of(config)))


@pytest.mark.slow
def test_a_training_in_vain_says_so(quick_config: Configs) -> None:
    """A network of random weights after one step; without the wish to compare, nothing is said."""
    config = quick_config(epochs=1, steps_per_epoch=1, lr=1e-6, compare=True)
    end = list(train(config, index_of(config)))[-1]
    assert isinstance(end, RunFinished)
    advice, last = end.message.splitlines()
    assert last == "Training Finished"
    pattern = r"On 2 of .* general method, .* reaches a Dice of (0\.\d+); this network reaches (0\.\d+)\."
    found = re.search(pattern, advice)
    assert found is not None
    assert float(found[1]) > float(found[2]) + 0.1
    assert "--method general" in advice


def test_what_voxelmorph_learned_comes_back(quick_config: Configs) -> None:
    config = quick_config(epochs=1, network="voxelmorph", transform="svf")
    events = list(train(config, index_of(config)))
    checkpoint = load_checkpoint(run_of(events).best_path)
    model = checkpoint.model()
    assert isinstance(model, VoxelMorph)
    assert model.transform == "svf"
    assert checkpoint.network["network"] == "voxelmorph"
