"""Flags generated from the declared settings, and options that several commands share."""

import os
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from regstudio.config import Setting, settings
from regstudio.errors import RegStudioError
from regstudio.methods import SIMILARITIES

Command = TypeVar("Command", bound=Callable[..., Any])
AffineChoice = Literal["none", "auto", "wide"] | None
RefineChoice = int | Literal["auto"] | None

affine_option = click.option(
    "--affine",
    type=click.Choice(["none", "auto", "wide"]),
    help="auto: align the images by an affine map first; wide: also where they are turned by up to 180 degrees, or "
    "mirrored, which the general method takes, too  [default: as the network was trained]",
)


def _steps(context: click.Context, option: click.Parameter, value: str | None) -> RefineChoice:
    """The value of --refine: a number of at least 0, "auto", or None where it is not given."""
    if value is None:
        return None
    return "auto" if value == "auto" else click.IntRange(0)(value, option, context)


refine_option = click.option(
    "--refine",
    callback=_steps,
    metavar="auto|N",
    help="optimise each flow for its pair: by N steps on the loss that the network was trained with, 20 to 100 are "
    "usual; auto: briefly, keeping what the network knows, for networks with --transform svf, unless that made their "
    "validation images worse  [default: auto to register, 0 to evaluate]",
)
output_size_option = click.option(
    "--output_size",
    type=click.Choice(["fixed", "moving", "working"]),
    default="fixed",
    show_default=True,
    help="size of the results: the fixed image's, with pixels as large as the moving image's, or the working grid's",
)
similarity_option = click.option(
    "--similarity",
    type=click.Choice(SIMILARITIES),
    default="auto",
    show_default=True,
    help="what the optimiser compares images by; auto: for each pair by what its images are",
)
_SETTINGS = {setting.name: setting for setting in settings()}


def choices(name: str) -> tuple[str, ...]:
    """Return the allowed values of a setting; empty if they are not a fixed set."""
    return tuple(_SETTINGS[name].choices or ())


precision_option = click.option(
    "--precision",
    type=click.Choice(choices("precision")),
    default=_SETTINGS["precision"].default,
    show_default=True,
    help=_SETTINGS["precision"].help,
)


def setting_options(*sections: str) -> Callable[[Command], Command]:
    """Decorator that adds a flag for each setting of the named sections, or of all sections.

    A flag that is not given is None; defaults and bounds are those of the configuration.
    """

    def decorate(command: Command) -> Command:
        for setting in reversed(list(settings(*sections))):
            command = _option(setting)(command)
        return command

    return decorate


def refuse_both(checkpoint: object, method: str | None) -> None:
    """Raise a usage error where both a checkpoint and a method are named."""
    if checkpoint and method is not None:
        raise click.UsageError(f"--checkpoint and --method {method} exclude each other: leave one of them out.")


def refuse_of_networks(affine: AffineChoice, refine: RefineChoice, precision: str) -> None:
    """Raise a usage error where a flag is given that means something for checkpoints alone."""
    for flag, is_given in (("affine", affine), ("refine", refine), ("precision", precision != "float32")):
        if is_given:
            raise click.UsageError(f"--{flag} is for networks: name one with --checkpoint, or leave it out.")


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that the user gave: those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _option(setting: Setting) -> Callable[[Command], Command]:
    names = f"--{setting.name}/--no-{setting.name}" if setting.type is bool else f"--{setting.name}"
    facts = [] if setting.default is None else [f"default: {_default_text(setting.default)}"]
    facts += [setting.bounds] * bool(setting.bounds)
    text = setting.help + (f"  [{'; '.join(facts)}]" if facts else "")
    kind = click.Choice(setting.choices) if setting.choices else None if setting.type is bool else setting.type
    return click.option(names, setting.name, type=kind, default=None, help=text)


def _default_text(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)


def distributed(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator that passes a command its `group` of processes (see torchrun); only the first one prints."""

    @wraps(command)
    def run_in_group(**values: Any) -> None:
        from regstudio.distributed import join_group

        is_first = True
        try:
            with join_group() as group, ExitStack() as silence:
                is_first = group.is_first
                if not is_first:
                    nowhere = silence.enter_context(Path(os.devnull).open("w"))
                    silence.enter_context(redirect_stdout(nowhere))
                    silence.enter_context(redirect_stderr(nowhere))
                command(group=group, **values)
        except (RegStudioError, OSError):  # the first process reports it
            if is_first:
                raise
            raise SystemExit(1) from None

    return run_in_group
