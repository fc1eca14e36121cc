"""The command line: one subcommand per thing a user does.

Commands import heavy packages (above all torch) when they run, so that --help and mistyped flags respond at once.
"""

import pkgutil
import warnings
from typing import Any

import click

from regstudio.errors import RegStudioError, printable
from regstudio.files import system_message
from regstudio.signals import INTERRUPTED

COMMANDS = {
    "studio": "regstudio.ui.launch:main",
    "import": "regstudio.cli.importing:import_command",
    "check": "regstudio.cli.data:check",
    "make-demo": "regstudio.cli.data:make_demo",
    "train": "regstudio.cli.train:train",
    "sweep": "regstudio.cli.sweep:sweep",
    "train-general": "regstudio.cli.general:train_general",
    "register": "regstudio.cli.register:register",
    "apply": "regstudio.cli.apply:apply",
    "evaluate": "regstudio.cli.evaluate:evaluate",
    "export-onnx": "regstudio.cli.export:export_onnx",
    "export-weights": "regstudio.cli.export:export_weights",
    "bench": "regstudio.cli.bench:bench",
}


class Commands(click.Group):
    """The subcommands, loaded lazily; an error of the user ends in one message, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command and return it; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = pkgutil.resolve_name(COMMANDS[cmd_name])
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nStopped. Files that were finished before are whole.", err=True)
            raise SystemExit(INTERRUPTED) from None
        except RegStudioError as error:
            raise click.ClickException(printable(str(error), lines=True)) from error
        except OSError as error:
            # Missing permission, and the like: the system's message names the file.
            raise click.ClickException(printable(system_message(error), lines=True)) from error


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
    click.echo(f"Warning: {printable(str(message), lines=True)}", err=True)
