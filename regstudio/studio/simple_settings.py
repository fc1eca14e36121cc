"""The few settings that most trainings need, in everyday words, and what each sets of all the others."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regstudio.config import GENERAL, TrainConfig, settings
from regstudio.errors import ConfigError, RegStudioError
from regstudio.studio.page_words import on_the_page

NOTHING, CHECKPOINT = "nothing", "checkpoint"  # what a training starts from, beside GENERAL
_VALUE = re.compile(r"\w+ is (.*?): (?:input )?(.*)\.")  # as a value that is out of bounds is refused
STARTS = (NOTHING, GENERAL, CHECKPOINT)
# As the general network looks at images, and what holds its successor to what it knew.
LIKE_GENERAL: Mapping[str, Any] = {"transform": "svf", "network_side": 128, "passes": 3, "teacher_weight": 0.1}


@dataclass(frozen=True, kw_only=True)
class Simple:
    """Settings in everyday words.

    `duration` is in `unit`: "steps" where their number is set, else "epochs". `smoothness` is the weight of the flow's.
    `start` is one of STARTS, and `checkpoint` the path where it is one.
    """

    duration: int
    unit: str
    smoothness: float
    askew: bool
    other_kinds: bool
    start: str
    checkpoint: str


def simple_of(config: TrainConfig) -> Simple:
    """Return the settings in everyday words."""
    steps, model = config.optimisation.total_steps, config.optimisation.load_model
    start = NOTHING if model is None else GENERAL if str(model) == GENERAL else CHECKPOINT
    return Simple(
        duration=steps or config.optimisation.epochs,
        unit="steps" if steps else "epochs",
        smoothness=config.loss.grad_weight,
        askew=config.alignment.affine != "none",
        other_kinds=bool(config.loss.mind_weight or config.loss.mi_weight) and not config.loss.ncc_weight,
        start=start,
        checkpoint=str(model) if start == CHECKPOINT else "",
    )


def settings_of(name: str, value: Any, steps: Any = None) -> dict[str, Any]:
    """Return the settings, flat by name, that the field `name` of `Simple` stands for at this value.

    `steps` is the number of steps that is set, if one is: the duration is in these. Raises ConfigError where there is
    no such field.
    """
    if name not in _MEANINGS:
        raise ConfigError(f"{name}: there is no such field. Reload the page.")
    return {"total_steps" if steps else "epochs": value} if name == "duration" else _MEANINGS[name](value)


def _started_from(start: Any) -> dict[str, Any]:
    if start == GENERAL:
        return {"load_model": Path(GENERAL), **LIKE_GENERAL}
    return {"load_model": None, "teacher_weight": 0.0}


_MEANINGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "duration": lambda value: {"epochs": value},
    "smoothness": lambda value: {"grad_weight": value},
    "askew": lambda value: {"affine": "auto" if value else "none"},
    "other_kinds": lambda value: {
        "mind_weight": 10.0 if value else 0.0,
        "mi_weight": 0.0,
        "ncc_weight": float(not value),
    },
    "start": _started_from,
    "checkpoint": lambda value: {"load_model": Path(value) if value else None},
}


def problems(error: RegStudioError) -> dict[str, str]:
    """Return what a refusal of settings says of each, by name, in words of the page; "" stands for no one setting."""
    known = {setting.name for setting in settings()}
    found: dict[str, str] = {}
    for line in str(error).splitlines():
        name = re.split(r"\W", line, maxsplit=1)[0].lower()
        value = _VALUE.fullmatch(line)
        words = line.partition(": ")[2] or line.partition(" is ")[2] if name in known else line
        if value and name in known:
            words = f"{value[2]} (now {value[1]})."
        found[name if name in known else ""] = on_the_page(words[:1].upper() + words[1:])
    return found
