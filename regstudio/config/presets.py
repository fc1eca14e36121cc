"""Presets: named sets of settings that differ from the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.config.sections import GENERAL
from regstudio.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The purpose of a preset, and its settings, flat: name -> value; other settings keep their defaults."""

    purpose: str
    values: Mapping[str, Any]


# From the general network, at the size and in the passes that it was trained for, it starts where that network is. The
# similarity at several scales sees organs and not only ribs and noise; the affine maps are those that the general
# network itself would start from. What it knew is its own teacher: by the similarity alone it would forget where, in a
# radiograph, the heart ends.
_RECIPE: dict[str, Any] = {
    "normalise": "percentile",
    "transform": "svf",
    "network_side": 128,
    "passes": 3,
    "affine": "auto",
    "load_model": Path(GENERAL),
    "ncc_scales": 3,
    "teacher_weight": 0.1,
    "augment_affine": 1.0,
    "augment_smooth": 1.0,
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "warmup_steps": 50,
    "ema": 0.99,
}

PRESETS: dict[str, Preset] = {
    "paper": Preset(purpose="the settings of the paper, and the defaults", values={}),
    "fast": Preset(purpose="an accurate network in minutes", values=_RECIPE | {"epochs": 3, "total_steps": 150}),
    "best": Preset(
        purpose="much longer, for large and varied data",
        values=_RECIPE | {"epochs": 10, "total_steps": 2000},
    ),
}


# The general network's weights fit no other.
GENERAL_SHAPE: Mapping[str, Any] = {"network": "corrmlp", "encoder_channels": 8, "decoder_channels": 16}


def preset_values(name: str, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a copy of a preset's settings, flat: name -> value, under those that the user has `chosen`.

    A preset's start and teacher are left out where the chosen network cannot have them, and its number of steps where
    that of an epoch is chosen. Raises ConfigError for an unknown preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"{name}: there is no such preset. Choose one of {', '.join(PRESETS)}.")
    values, chosen = dict(PRESETS[name].values), chosen or {}
    if any(chosen.get(setting, value) != value for setting, value in GENERAL_SHAPE.items()):
        values.pop("load_model", None)
    if (values | dict(chosen)).get("load_model") is None:
        values.pop("teacher_weight", None)
    if "steps_per_epoch" in chosen:
        values.pop("total_steps", None)
    return values | dict(chosen)
