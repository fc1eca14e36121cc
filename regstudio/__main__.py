"""The ways into the program: the command `regstudio`, `python -m regstudio`, and `python launch.py`.

Ctrl-C is taken care of before anything else is loaded.
"""

from collections.abc import Callable

from regstudio.signals import INTERRUPTED, end_while_importing


def main() -> None:
    """Run the command line."""
    _run("regstudio.cli:main")


def studio() -> None:
    """Open the studio, with the options of `regstudio studio`."""
    _run("regstudio.ui.launch:main")


def _run(name: str) -> None:
    end_while_importing()
    try:
        import pkgutil

        from regstudio.waiting import watch_load

        watch_load()
        command: Callable[[], None] = pkgutil.resolve_name(name)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    command()


if __name__ == "__main__":
    main()
