"""Flags made from the knobs of the configuration."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from regstudio.config import Knob, knobs

Command = TypeVar("Command", bound=Callable[..., Any])
AffineChoice = Literal["none", "auto"] | None

affine_option = click.option(
    "--affine",
    type=click.Choice(["none", "auto"]),
    help="auto: align the images by an affine map first  [default: as the network was trained]",
)
refine_option = click.option(
    "--refine",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="optimise each flow for its pair, N steps from the network's on; 20 to 100 are usual  [default: 0]",
)
_KNOBS = {knob.name: knob for knob in knobs()}


def choices(name: str) -> tuple[str, ...]:
    """Return what a knob with a fixed set of values may be."""
    return tuple(_KNOBS[name].choices or ())


precision_option = click.option(
    "--precision",
    type=click.Choice(choices("precision")),
    default=_KNOBS["precision"].default,
    show_default=True,
    help=_KNOBS["precision"].help,
)


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
