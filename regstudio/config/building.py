"""Describe the settings for flags, forms and records, and build a TrainConfig from plain values."""

import difflib
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from regstudio.config.section import RESUMABLE
from regstudio.config.sections import TrainConfig
from regstudio.errors import ConfigError
from regstudio.schema import shortened

READING_OF_0_1 = {"working_size": "own", "background": "black"}
MAX_LISTED = 20  # wrong settings in one message
MAX_SHOWN = 200  # letters of one value


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting as a flag or a form field shows it; `type` is bool, int, float, str or Path."""

    name: str
    section: str
    type: type
    default: Any
    help: str
    choices: tuple[str, ...]
    optional: bool
    bounds: str
    resumable: bool


def settings(*sections: str) -> Iterator[Setting]:
    """Yield the settings of the named sections, by default of all, in the order of their declaration."""
    for section, section_info in TrainConfig.model_fields.items():
        if sections and section not in sections:
            continue
        for name, info in section_info.default.__class__.model_fields.items():
            kind, choices, optional = _field_type(info.annotation)
            yield Setting(
                name=name,
                section=section,
                type=kind,
                default=info.default,
                help=info.description or "",
                choices=choices,
                optional=optional,
                bounds=_bounds(info.metadata),
                resumable=info.json_schema_extra == RESUMABLE,
            )


def build_config(values: Mapping[str, Any], base: TrainConfig | None = None) -> TrainConfig:
    """Return `base` (by default the defaults) updated with `values`, which are flat: setting name -> value.

    Raises ConfigError for an unknown name, with the nearest known one, and for a value out of bounds.

    >>> build_config({"lr": 1e-3, "epochs": 4}).optimisation.epochs
    4
    """
    section_of = {setting.name: setting.section for setting in settings()}
    nested = (base or TrainConfig()).model_dump()
    for name, value in values.items():
        if name not in section_of:
            raise ConfigError(_unknown_name_message(name, section_of))
        nested[section_of[name]][name] = value
    return _validate(nested)


def extend_epochs(config: TrainConfig, epochs: int) -> TrainConfig:
    """Return the settings of the same training with `epochs` epochs in all.

    The steps per epoch, the steps on smaller images and the learning rate of each step do not change; added epochs run
    at full size, and at the learning rate that the last one ended with.
    """
    before = config.optimisation
    total = before.total_steps and math.ceil(before.total_steps / before.epochs) * epochs
    coarse = min(1.0, before.coarse_share * before.epochs / epochs)
    values = {"epochs": epochs, "total_steps": total, "coarse_share": coarse}
    if before.lr_schedule == "cosine" and epochs != before.epochs:
        values["cosine_epochs"] = before.cosine_epochs or before.epochs
    return build_config(values, config)


def read_config(record: Mapping[str, Any]) -> TrainConfig:
    """Return the TrainConfig of a `record` (model_dump); raises ConfigError as `build_config` does.

    Version 0.1 registered images at their own size and left them as they are; its records do not say so.
    """
    reading = record.get("reading")
    if isinstance(reading, Mapping) and "resize_to_atlas" in reading:
        record = {**record, "reading": {**READING_OF_0_1, **reading}}
    return _validate(record)


def read_network(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a network that a `record` gives; raises ConfigError as `build_config` does."""
    return _validate({"network": dict(record)}).network.model_dump(include=set(record))


def _unknown_name_message(name: str, known: Mapping[str, Any]) -> str:
    """Return the message for an unknown setting, with the nearest known name."""
    nearest = difflib.get_close_matches(name[:MAX_SHOWN], known, n=1, cutoff=0)
    return f"{_shown(name)}: there is no such setting. Did you mean {nearest[0]}?"


def _validate(nested: Mapping[str, Any]) -> TrainConfig:
    try:
        return TrainConfig.model_validate(nested)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[:MAX_LISTED]
        messages = (_error_message(details["loc"], details["type"], details) for details in wrong)
        raise ConfigError("\n".join(messages)) from None


def _error_message(location: tuple[int | str, ...], error: str, details: Mapping[str, Any]) -> str:
    name = _shown(".".join(map(str, location[1:] or location)) or "the record")
    if error == "extra_forbidden":
        known = {setting.name: setting for setting in settings()} if len(location) > 1 else TrainConfig.model_fields
        return _unknown_name_message(name, known)
    what = details["msg"].removeprefix("Value error, ")
    if len(location) < 2 and error == "value_error":  # of a whole section
        return f"{what[0].upper()}{what[1:]}."
    if error == "string_pattern_mismatch":
        what = "it should be: " + next(setting.help for setting in settings() if setting.name == name)
    return f"{name} is {_shown(details['input'])}: {what[0].lower()}{what[1:]}."


def _shown(value: object) -> str:
    """Return a value as a message names it, however long it is."""
    if not isinstance(value, str | Path):
        return shortened(value)
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _field_type(annotation: Any) -> tuple[type, tuple[str, ...], bool]:
    """Return (plain type, choices, whether None is allowed) of a field's annotation."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        annotation, optional = members[0], True
    if get_origin(annotation) is Literal:
        return str, get_args(annotation), optional
    return annotation, (), optional


def _bounds(metadata: list[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}
    return ", ".join(
        f"{sign} {getattr(item, name)}" for item in metadata for name, sign in signs.items() if hasattr(item, name)
    )
