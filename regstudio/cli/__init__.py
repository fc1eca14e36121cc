"""The command line: one subcommand per thing a user does.

Commands import what is heavy (torch, above all) when they run, so that --help and a mistyped flag answer at once.
"""

import importlib
import warnings
from typing import Any

import click

from regstudio.errors import RegStudioError

COMMANDS = {
    "check": "regstudio.cli.data",
    "make-demo": "regstudio.cli.data",
    "train": "regstudio.cli.train",
    "train-general": "regstudio.cli.general",
    "register": "regstudio.cli.register",
    "apply": "regstudio.cli.apply",
    "evaluate": "regstudio.cli.evaluate",
    "export-onnx": "regstudio.cli.export",
    "bench": "regstudio.cli.bench",
}


class Commands(click.Group):
    """The subcommands, each loaded from its module; what a user did wrong ends in one message, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, which bears its name in its module with _ for -."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except RegStudioError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            # Full disk, missing permission: the system's own words name the file.
            raise click.ClickException(str(error)) from error


@click.command(
    cls=Commands,
    # --batch_size and --batch-size are the same flag.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 110},
)
@click.version_option(package_name="regstudio")
def main() -> None:
    """Train, watch, inspect and apply deformable registration of 2-D medical images."""
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    click.echo(f"Warning: {message}", err=True)
