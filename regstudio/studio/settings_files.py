"""Settings as users pass them on: presets, JSON files, and the command line that does the same."""

import json
import shlex
from typing import Any

from regstudio.config import PRESETS, Preset, TrainConfig, read_config, settings
from regstudio.errors import ConfigError

MAX_FILE_BYTES = 100_000  # a configuration has about two thousand

# Ten times the paper's learning rate is rough, but it shows within a minute whether small data register at all.
QUICK_LOOK = Preset(purpose="whether small data registers at all, in a minute", values={"epochs": 10, "lr": 1e-3})
PAGE_PRESETS: dict[str, Preset] = {"quick look": QUICK_LOOK, **PRESETS}  # the preset buttons of the page

# Names, paths and the use of the machine: a preset leaves these settings as they are.
NOT_IN_PRESETS = frozenset({"data_base_dir", "runs_dir", "run_name", "device", "threads", "load_model"})


def preset_values(name: str) -> dict[str, Any]:
    """Return every setting that the preset sets, flat by name: the defaults and what differs from them.

    Raises ConfigError for an unknown preset.
    """
    if name not in PAGE_PRESETS:
        raise ConfigError(f"{name}: there is no such preset. Choose one of {', '.join(PAGE_PRESETS)}.")
    in_some = {name for preset in PAGE_PRESETS.values() for name in preset.values}
    defaults = {
        setting.name: setting.default
        for setting in settings()
        if setting.name in in_some
        or (setting.section not in ("layout", "reading") and setting.name not in NOT_IN_PRESETS)
    }
    return defaults | dict(PAGE_PRESETS[name].values)


def preset_of(config: TrainConfig) -> str | None:
    """Return the preset that these settings are; None if there is none, as some were changed."""
    values = flat(config)
    return next((name for name in PAGE_PRESETS if preset_values(name).items() <= values.items()), None)


def suggested(config: TrainConfig, *, was_demo: bool, is_demo: bool) -> str | None:
    """Return the preset to set because other data were chosen: for the demo data another than for the user's own.

    None keeps the settings: the user changed some. The defaults, which are the paper's, are nobody's choice.
    """
    now = preset_of(config)
    if is_demo:
        return "quick look" if now == "paper" else None
    return "fast" if now == "paper" or (was_demo and now == "quick look") else None


def purpose(config: TrainConfig, *, is_demo: bool) -> str:
    """Return in a sentence what these settings are for."""
    name = preset_of(config)
    if name is None:
        return "Settings of your own; a preset replaces them."
    advice = {True: " For your own images, choose Fast.", False: " For a network to use, choose Fast."}
    return f"{name.capitalize()}: {PAGE_PRESETS[name].purpose}.{advice[is_demo] if name == 'quick look' else ''}"


def flat(config: TrainConfig) -> dict[str, Any]:
    """Return every setting's value by its name."""
    return {setting.name: getattr(getattr(config, setting.section), setting.name) for setting in settings()}


def to_json(config: TrainConfig) -> str:
    """Return the configuration as a run's config.json holds it."""
    return config.model_dump_json(indent=2) + "\n"


def from_json(content: bytes) -> TrainConfig:
    """Return the configuration that `to_json` or a run wrote; raises ConfigError if the file is none."""
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
    """Return the command that trains the same: all settings that differ from the defaults, quoted for a POSIX shell."""
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
