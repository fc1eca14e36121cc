"""Configurations as people pass them on: named presets, JSON files, and the command line that does the same."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from regstudio.config import PRESETS as DECLARED
from regstudio.config import Preset, TrainConfig, read_config, settings
from regstudio.errors import ConfigError

MAX_FILE_BYTES = 100_000  # bytes; a configuration has about two thousand

# The declared recipes, and one for the first minute: ten times the paper's step is rough, but shows on small data
# whether it registers at all.
QUICK_LOOK = Preset(purpose="whether small data registers at all, in a minute", values={"epochs": 10, "lr": 1e-3})
RECIPES: dict[str, Preset] = {"quick look": QUICK_LOOK, **DECLARED}

# Each is what differs from the defaults; all other settings but names and places go back to theirs.
PRESETS: dict[str, Mapping[str, Any]] = {name: recipe.values for name, recipe in RECIPES.items()}

# What names a run, or says where things lie and how much of the machine it takes, is no part of how it is trained.
PLACES = frozenset({"data_base_dir", "runs_dir", "run_name", "device", "threads", "load_model"})


def preset(name: str) -> dict[str, Any]:
    """Return every setting that the preset sets, flat by name; raises ConfigError where there is none of that name."""
    if name not in PRESETS:
        raise ConfigError(f"{name}: there is no such preset. Choose one of {', '.join(PRESETS)}.")
    ours = [
        setting for setting in settings() if setting.section not in ("layout", "reading") and setting.name not in PLACES
    ]
    return {setting.name: setting.default for setting in ours} | dict(PRESETS[name])


def is_untouched(values: Mapping[str, Any]) -> bool:
    """Whether these settings, flat by name, are the defaults, but for names and places."""
    defaults = preset("paper")
    return all(value == defaults[name] for name, value in values.items() if name in defaults)


def purposes() -> str:
    """Say in a line what each preset is for."""
    return "; ".join(f"{name}: {recipe.purpose}" for name, recipe in RECIPES.items())


def flat(config: TrainConfig) -> dict[str, Any]:
    """Return every setting's value by its name."""
    return {setting.name: getattr(getattr(config, setting.section), setting.name) for setting in settings()}


def to_json(config: TrainConfig) -> str:
    """Return the configuration as a run's config.json holds it."""
    return config.model_dump_json(indent=2) + "\n"


def from_json(content: bytes) -> TrainConfig:
    """Return the configuration that `to_json` or a run wrote; raises ConfigError where it is none."""
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"The file has {len(content):,} bytes, too many for a configuration. Choose a config.json.")
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError("The file is not JSON. Choose a config.json of a run, or one saved here.") from None
    if not isinstance(record, dict):
        raise ConfigError("The file is JSON, but no configuration. Choose a config.json of a run, or one saved here.")
    return read_config(record)


def command_line(config: TrainConfig) -> str:
    """Return the command that trains the same, with what differs from the defaults, quoted for a POSIX shell."""
    values = flat(config)
    words = ["regstudio", "train"]
    for setting in settings():
        value = values[setting.name]
        if value == setting.default:
            continue
        if setting.type is bool:
            words.append(f"--{setting.name}" if value else f"--no-{setting.name}")
        elif value is not None:
            words += [f"--{setting.name}", str(value)]
    return shlex.join(words)
