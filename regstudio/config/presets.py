"""Presets: named sets of settings that differ from the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regstudio.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The purpose of a preset, and its settings, flat: name -> value; other settings keep their defaults."""

    purpose: str
    values: Mapping[str, Any]


# On real radiographs the affine map and the augmentation each raised Dice at the same number of steps; the other
# settings were measured only together with them.
_RECIPE: dict[str, Any] = {
    "normalise": "percentile",
    "affine": "auto",
    "transform": "svf",
    "augment_affine": 1.0,
    "augment_smooth": 1.0,
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "warmup_steps": 50,
    "ema": 0.99,
    "start_scale": 4,
}

PRESETS: dict[str, Preset] = {
    "paper": Preset(purpose="the settings of the paper, and the defaults", values={}),
    "fast": Preset(purpose="an accurate network in minutes", values=_RECIPE | {"epochs": 4, "total_steps": 1000}),
    "best": Preset(
        purpose="three times as long, for large and varied data",
        values=_RECIPE | {"epochs": 10, "total_steps": 3000},
    ),
}


def preset_values(name: str) -> dict[str, Any]:
    """Return a copy of a preset's settings, flat: name -> value; raises ConfigError for an unknown preset."""
    if name not in PRESETS:
        raise ConfigError(f"{name}: there is no such preset. Choose one of {', '.join(PRESETS)}.")
    return dict(PRESETS[name].values)
