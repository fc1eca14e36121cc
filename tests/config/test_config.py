import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest

from regstudio.config import PRESETS, TrainConfig, build_config, extend_epochs, preset_values, read_config, settings
from regstudio.data.checking.check import ReadOptions
from regstudio.data.folders.layout import Layout
from regstudio.errors import ConfigError
from regstudio.losses import NCC, Grad, Objective
from regstudio.networks.build import build_network
from regstudio.networks.corrmlp import CorrMLP
from regstudio.networks.voxelmorph import VoxelMorph


def defaults(function: object) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def test_the_defaults_are_the_documented_ones() -> None:
    config = TrainConfig()
    assert (config.optimisation.lr, config.optimisation.epochs, config.optimisation.batch_size) == (1e-4, 100, 1)
    assert (config.loss.ncc_weight, config.loss.grad_weight) == (1, 1)
    assert config.layout.atlas_name == "atlas.png"
    assert config.validation.run_validation is None


def test_classes_used_without_a_config_have_the_same_defaults() -> None:
    config = TrainConfig()
    assert defaults(build_network) == config.network.model_dump()
    assert defaults(CorrMLP) == config.network.model_dump(exclude={"network", "network_side", "passes"})
    assert defaults(VoxelMorph) == config.network.model_dump(include={"transform"})
    assert Objective().weights == Objective(**config.loss.model_dump()).weights
    assert defaults(NCC) == {"win": config.loss.ncc_win}
    assert defaults(Grad) == {"penalty": config.loss.grad_penalty}
    read = dataclasses.asdict(ReadOptions())
    read |= read.pop("rule")
    elsewhere = {"resize_to_atlas", "cache_gb", "disk_cache_gb", "num_workers", "mask_outside"}
    assert config.reading.model_dump(exclude=elsewhere) == read
    assert Layout(**config.layout.model_dump()).atlas_seg_name == "atlas_seg.png"


def test_names_are_unique_and_every_setting_has_a_help() -> None:
    names = [setting.name for setting in settings()]
    assert len(names) == len(set(names))
    assert all(setting.help for setting in settings())


def test_a_record_is_read_back() -> None:
    config = build_config({"lr": 0.5, "data_base_dir": "/somewhere", "run_validation": False, "grad_penalty": "l1"})
    assert read_config(config.model_dump(mode="json")) == config


def test_values_replace_those_of_a_base() -> None:
    base = build_config({"lr": 0.5})
    assert build_config({"epochs": 3}, base).optimisation.model_dump(include={"lr", "epochs"}) == {
        "lr": 0.5,
        "epochs": 3,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rate": 1}, "learning_rate: there is no such setting. Did you mean"),
        ({"epoch": 1}, "Did you mean epochs?"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"epochs": 0}, "epochs is 0: input should be greater than or equal to 1."),
        ({"ncc_win": 10}, "ncc_win is 10: must be odd"),
        ({"run_name": "a/b"}, "run_name is a/b: it should be: name of the run's folder, no slashes"),
        ({"run_name": ".."}, "run_name is ..:"),
        ({"start_scale": 3}, "start_scale is 3: must be 1, 2, 4 or 8."),
        ({"start_scale": 16}, "start_scale is 16: input should be less than or equal to 8."),
        ({"ema": 1.0}, "ema is 1.0: input should be less than 1."),
        ({"transform": "rigid"}, "transform is rigid: input should be 'displacement' or 'svf'."),
        ({"network": "unet"}, "network is unet: input should be 'corrmlp' or 'voxelmorph'."),
        ({"affine": "yes"}, "affine is yes: input should be 'none', 'auto' or 'wide'."),
        ({"ncc_weight": 0}, "No term compares the images: give one of the similarities a weight, --ncc_weight 1."),
        ({"ncc_weight": 0, "fold_weight": 10}, "No term compares the images"),
        ({"seed": -1, "batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(values)
    assert message in str(caught.value)


@pytest.mark.parametrize("record", [{"loss": {"nccweight": 1}}, {"losses": {}}])
def test_unknown_names_in_a_record_are_named(record: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"there is no such setting\. Did you mean (ncc_weight|loss)\?"):
        read_config(record)


@pytest.mark.parametrize("name", ["ncc", "global_ncc", "mse", "mi", "dice"])
def test_one_similarity_is_enough(name: str) -> None:
    loss = build_config({"ncc_weight": 0, f"{name}_weight": 2}).loss
    assert getattr(loss, f"{name}_weight") == 2


def test_records_of_older_versions_get_defaults_for_newer_settings() -> None:
    record = TrainConfig().model_dump(mode="json")
    for section in ("alignment", "augmentation"):
        del record[section]
    record["loss"] = {"ncc_win": 9, "ncc_weight": 1.0, "grad_weight": 0.5, "grad_penalty": "l2"}
    record["network"] = {"encoder_channels": 8, "decoder_channels": 16, "gradient_checkpointing": False}
    assert read_config(record) == build_config({"grad_weight": 0.5})


def test_presets_are_valid() -> None:
    assert list(PRESETS) == ["paper", "fast", "best"]
    assert all(preset.purpose for preset in PRESETS.values())
    assert build_config(preset_values("paper")) == TrainConfig()
    fast, best = (build_config(preset_values(name)) for name in ("fast", "best"))
    assert fast.optimisation.total_steps < best.optimisation.total_steps
    assert fast != TrainConfig() != best


def test_preset_values_are_a_copy() -> None:
    preset_values("fast").clear()
    assert preset_values("fast") == dict(PRESETS["fast"].values)


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({}, {"load_model", "teacher_weight"}),
        ({"network": "corrmlp", "encoder_channels": 8, "lr": 0.1}, {"load_model", "teacher_weight"}),
        ({"network": "voxelmorph"}, set()),
        ({"encoder_channels": 4}, set()),
        ({"load_model": None}, set()),
        ({"load_model": Path("mine.pt"), "decoder_channels": 4}, {"load_model", "teacher_weight"}),
        ({"network": "voxelmorph", "teacher_weight": 0.2}, {"teacher_weight"}),  # his own, and an error later on
    ],
)
def test_a_preset_starts_from_the_general_network_where_the_chosen_one_can(
    chosen: dict[str, Any], kept: set[str]
) -> None:
    values = preset_values("fast", chosen)
    assert {name for name in ("load_model", "teacher_weight") if values.get(name) is not None} == kept
    assert values.items() >= chosen.items()
    others = {**PRESETS["fast"].values, **chosen}
    assert all(values[name] == others[name] for name in others if name not in ("load_model", "teacher_weight"))


def test_an_unknown_preset_names_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"x: there is no such preset\. Choose one of paper, fast, best\."):
        preset_values("x")


def test_more_epochs_keep_the_steps_per_epoch_and_the_steps_on_smaller_images() -> None:
    before = build_config({"epochs": 4, "total_steps": 1000, "start_scale": 4, "coarse_share": 0.8})
    after = extend_epochs(before, 10)
    assert (after.optimisation.epochs, after.optimisation.total_steps) == (10, 2500)
    assert after.optimisation.coarse_share * 2500 == pytest.approx(0.8 * 1000)
    assert extend_epochs(before, 4) == before
    assert extend_epochs(TrainConfig(), 200).optimisation.total_steps is None


def test_fewer_epochs_keep_the_steps_on_smaller_images_too() -> None:
    before = build_config({"epochs": 10, "total_steps": 1000, "start_scale": 4, "coarse_share": 0.5})
    assert extend_epochs(before, 8).optimisation.coarse_share * 800 == pytest.approx(500)
    assert extend_epochs(before, 4).optimisation.coarse_share == 1  # never at full size


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"passes": 2, "network_side": 64}, "give --transform svf, or --passes 1"),
        ({"passes": 2, "transform": "svf"}, "2 passes need a --network_side of at least 64"),
        ({"network_side": 60}, "multiple of 8"),
        ({"network_side": 64, "start_scale": 2}, "give --start_scale 1, or leave the network_side out"),
    ],
)
def test_a_working_size_that_does_not_go_with_the_rest_says_what_to_do(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_config(values)
