"""The commands as a whole: each is there under its name, and help needs nothing heavy."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from regstudio.cli import COMMANDS, main
from regstudio.ui.launch import main as launch


def test_studio_is_what_the_launcher_runs() -> None:
    assert main.get_command(click.Context(main), "studio") is launch


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name} [OPTIONS]")


def test_a_command_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(main, ["studioo"])
    assert result.exit_code == 2
    assert "No such command 'studioo'" in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["studio", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from regstudio.cli import main; main({arguments}, standalone_mode=False)"
    code += "; assert not {'torch', 'gradio', 'numpy', 'scipy'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_module_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "regstudio", "studio", "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    assert "Open RegStudio in the browser" in result.stdout


@click.command()
def _interrupted() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_ends_every_command_with_a_word_and_the_usual_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "check", f"{__name__}:_interrupted")
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 130
    assert "Stopped. Files that were finished before are whole." in result.output
