"""The settings as flags, forms and records see them, and configurations made from plain values."""

import difflib
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError

from regstudio.config.sections import RESUMABLE, TrainConfig
from regstudio.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting as a flag or a form shows it; `type` is bool, int, float, str or Path."""

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
    """Yield every setting of the named sections, or of all, in the order they are declared."""
    for section, section_info in TrainConfig.model_fields.items():
        if sections and section not in sections:
            continue
        for name, info in section_info.default.__class__.model_fields.items():
            kind, choices, optional = _kind(info.annotation)
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
    """Return `base` (or the defaults) with `values`, flat by setting name, put in.

    Raises ConfigError for an unknown name, with the nearest known one, and for a value out of bounds.
    """
    section_of = {setting.name: setting.section for setting in settings()}
    nested = (base or TrainConfig()).model_dump()
    for name, value in values.items():
        if name not in section_of:
            raise ConfigError(unknown_name(name, section_of))
        nested[section_of[name]][name] = value
    return _validated(nested)


def extended_to(config: TrainConfig, epochs: int) -> TrainConfig:
    """Return the configuration of a training that goes on to `epochs`: what is added is like what it was to end with.

    Epochs keep their number of steps, and the steps on smaller images stay those they were.
    """
    before = config.optimisation
    total = before.total_steps and math.ceil(before.total_steps / before.epochs) * epochs
    coarse = before.coarse_share * min(1, before.epochs / epochs)
    return build_config({"epochs": epochs, "total_steps": total, "coarse_share": coarse}, config)


def read_config(record: Mapping[str, Any]) -> TrainConfig:
    """Return the TrainConfig that was recorded as `record` (model_dump); raises ConfigError as `build_config` does."""
    return _validated(record)


def unknown_name(name: str, known: Mapping[str, Any]) -> str:
    """Say that `name` is no setting, and which known one is nearest."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"{name}: there is no such setting. Did you mean {nearest[0]}?"


def _validated(nested: Mapping[str, Any]) -> TrainConfig:
    try:
        return TrainConfig.model_validate(nested)
    except ValidationError as error:
        problems = (_problem(details["loc"], details["type"], details) for details in error.errors())
        raise ConfigError("\n".join(problems)) from None


def _problem(location: tuple[int | str, ...], kind: str, details: Mapping[str, Any]) -> str:
    name = str(location[-1]) if len(location) < 2 else str(location[1])
    if kind == "extra_forbidden":
        known = {setting.name: setting for setting in settings()} if len(location) > 1 else TrainConfig.model_fields
        return unknown_name(name, known)
    what = details["msg"].removeprefix("Value error, ")
    if len(location) < 2 and kind == "value_error":  # of a section as a whole
        return f"{what[0].upper()}{what[1:]}."
    if kind == "string_pattern_mismatch":
        what = "it should be: " + next(setting.help for setting in settings() if setting.name == name)
    return f"{name} is {details['input']!s}: {what[0].lower()}{what[1:]}."


def _kind(annotation: Any) -> tuple[type, tuple[str, ...], bool]:
    """Return (plain type, choices, whether None is a value) of a field's annotation."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        annotation, optional = members[0], True
    if get_origin(annotation) is Literal:
        return str, get_args(annotation), optional
    return annotation, (), optional


def _bounds(metadata: list[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(item, name)}" for item in metadata for name, sign in signs.items() if hasattr(item, name)
    )
