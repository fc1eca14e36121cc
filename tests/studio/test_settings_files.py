import shlex
from pathlib import Path

import pytest

from regstudio.cli.options import given
from regstudio.cli.train import train
from regstudio.config import TrainConfig, build_config
from regstudio.errors import ConfigError
from regstudio.studio.settings_files import (
    MAX_FILE_BYTES,
    PAGE_PRESETS,
    command_line,
    from_json,
    preset_of,
    preset_values,
    purpose,
    suggested,
    to_json,
)


def parsed(line: str) -> TrainConfig:
    program, command, *words = shlex.split(line)
    assert (program, command) == ("regstudio", "train")
    values = train.make_context("train", words).params
    values.pop("resume")
    return build_config(given(values))


@pytest.mark.parametrize("name", PAGE_PRESETS)
def test_a_preset_is_a_configuration_and_undoes_the_one_before(name: str) -> None:
    config = build_config(preset_values(name), build_config({"batch_size": 7, "ncc_win": 11, "lr": 0.5}))
    assert config == build_config(PAGE_PRESETS[name].values)


def test_a_preset_leaves_data_places_and_device_alone(tmp_path: Path) -> None:
    before = build_config({"data_base_dir": tmp_path, "image_key": "x", "device": "cpu", "run_name": "mine"})
    after = build_config(preset_values("quick look"), before)
    assert (after.layout, after.reading, after.run) == (before.layout, before.reading, before.run)
    assert after.optimisation.device == "cpu"


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigError, match="quick look"):
        preset_values("fastest")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"lr": 3.3e-05, "epochs": 7, "run_validation": False, "resize_to_atlas": True},
        {"run_validation": True, "data_base_dir": Path('/data/it\'s "here" $HOME'), "run_name": "a b; rm -rf"},
        {"slice_axis": 0, "slice_index": 3, "file_pattern": "*_*", "grad_penalty": "l1", "fixed_subdir": ""},
        {"run_name": "--lr", "load_model": Path("-x.pt"), "seed": 2**63 - 1, "cache_gb": 0.1 + 0.2},
    ],
)
def test_the_command_line_gives_the_same_configuration(values: dict[str, object]) -> None:
    config = build_config(values)
    assert parsed(command_line(config)) == config


def test_the_command_line_holds_only_what_differs() -> None:
    assert command_line(build_config({})) == "regstudio train"
    assert command_line(build_config({"lr": 1e-3, "epochs": 100})) == "regstudio train --lr 0.001"


def test_a_saved_configuration_comes_back() -> None:
    config = build_config({"lr": 1e-3, "load_model": Path("a.pt"), "run_validation": True})
    assert from_json(to_json(config).encode()) == config


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"[1]", "no configuration"),
        (b'{"optimisation": {"epoch": 3}}', "epochs"),
        (b'{"optimisation": {"epochs": 0}}', "epochs is 0"),
        (b" " * (MAX_FILE_BYTES + 1), "too many"),
    ],
)
def test_what_is_no_configuration_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_json(content)


@pytest.mark.parametrize("name", PAGE_PRESETS)
def test_a_preset_is_known_by_its_settings_whatever_the_names_and_places(name: str) -> None:
    config = build_config({**preset_values(name), "run_name": "mine", "threads": 3, "image_key": "x"})
    assert preset_of(config) == name
    assert purpose(config, is_demo=False).startswith(f"{name.capitalize()}: {PAGE_PRESETS[name].purpose}")
    changed = build_config({"batch_size": 2}, config)
    assert preset_of(changed) is None
    assert "your own" in purpose(changed, is_demo=True)


@pytest.mark.parametrize(
    ("now", "was_demo", "is_demo", "expected"),
    [
        ("paper", False, True, "quick look"),
        ("quick look", True, False, "fast"),
        ("paper", False, False, "fast"),
        ("quick look", False, False, None),  # the user's choice for data that are no demo
        ("fast", True, False, None),
        ("fast", False, True, None),
        ("quick look", True, True, None),
    ],
)
def test_other_data_come_with_another_preset_unless_the_user_chose_one(
    now: str, was_demo: bool, is_demo: bool, expected: str | None
) -> None:
    config = build_config(preset_values(now))
    assert suggested(config, was_demo=was_demo, is_demo=is_demo) == expected
    by_hand = build_config({"epochs": 7}, config)
    assert suggested(by_hand, was_demo=was_demo, is_demo=is_demo) is None


def test_the_words_fit_the_data_and_the_preset() -> None:
    quick, fast = (build_config(preset_values(name)) for name in ("quick look", "fast"))
    assert "your own images" in purpose(quick, is_demo=True)
    assert "choose Fast" in purpose(quick, is_demo=False)
    assert "your own images" not in purpose(fast, is_demo=True)
