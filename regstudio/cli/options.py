"""Flags made from the knobs of the configuration."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from regstudio.config import Knob, knobs

Command = TypeVar("Command", bound=Callable[..., Any])


def knob_options(*sections: str) -> Callable[[Command], Command]:
    """Give a command the flags of all knobs in the named sections, or in all sections.

    A flag that is not given arrives as None; the configuration alone knows the defaults and bounds.
    """

    def decorate(command: Command) -> Command:
        for knob in reversed(list(knobs(*sections))):
            command = _option(knob)(command)
        return command

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that the user gave."""
    return {name: value for name, value in values.items() if value is not None}


def _option(knob: Knob) -> Callable[[Command], Command]:
    names = f"--{knob.name}/--no-{knob.name}" if knob.type is bool else f"--{knob.name}"
    facts = [] if knob.default is None else [f"default: {_shown(knob.default)}"]
    facts += [knob.bounds] * bool(knob.bounds)
    text = knob.help + (f"  [{'; '.join(facts)}]" if facts else "")
    kind = click.Choice(knob.choices) if knob.choices else None if knob.type is bool else knob.type
    return click.option(names, knob.name, type=kind, default=None, help=text)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)
