"""`regstudio studio`, or `python launch.py`: serves the page on this machine and opens the browser.

Ctrl-C saves a training before it ends.
"""

import os
import socket
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regstudio.errors import RegStudioError
from regstudio.files import asset
from regstudio.signals import SAVING, StopSignals
from regstudio.temporary import lasting_folder
from regstudio.threads import share_heaps

if TYPE_CHECKING:
    from regstudio.studio.sharing import Share
    from regstudio.studio.studio import Studio
    from regstudio.studio.waiting_line import WaitingLine

CHECKOUT_DATA = asset("..").resolve() / "data"
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(
    # --data_base_dir and --data-base-dir are the same flag.
    context_settings={"token_normalize_func": lambda token: token.replace("_", "-"), "max_content_width": 110},
)
@click.option("--data_base_dir", type=FOLDER, default=Path("./data/"), show_default=True, help="data folder to open")
@click.option("--runs_dir", type=FOLDER, default=Path("./runs"), show_default=True, help="folder of all runs")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=lambda context, option, host: _checked_host(host),
    help="address to listen on",
)
@click.option("--port", type=click.IntRange(1, 65535), default=7860, show_default=True, help="or the next free one")
@click.option("--browser/--no-browser", default=True, help="open the page in the browser  [default: on]")
@click.option("--share", is_flag=True, help="share the runs through a public link, to look at only")
@click.option("--share_studio", is_flag=True, help="share the whole studio, training and files included")
@click.option("--demo", is_flag=True, help="train on the demo data at once, with a quick setting")
@click.option("--root", "roots", type=FOLDER, multiple=True, help="one more folder that the page may read (repeatable)")
def main(*, host: str, port: int, browser: bool, share: bool, share_studio: bool, **values: Any) -> None:
    """Open RegStudio in the browser: choose images, train, watch and inspect.

    Ctrl-C saves a training that is under way and ends.
    """
    signals = StopSignals()
    share_heaps()
    # gradio reads these when it is imported. Uploads lie in a folder that goes with this program, even if it is killed.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(lasting_folder()))
    from regstudio.studio.sharing import Share, new_login
    from regstudio.studio.waiting_line import WaitingLine
    from regstudio.ui.app import build_app, serve_viewer
    from regstudio.ui.server.serving import LOCAL_HOSTS, free_port, serve
    from regstudio.ui.server.tunnel import GradioTunnel

    studio = _studio(**values)
    link = Share(studio, serve_viewer, GradioTunnel())
    login = new_login() if share_studio else None
    line = WaitingLine(studio)
    page = serve(build_app(studio, link, line), host=host, port=_said(free_port(port), port), login=login)
    click.echo(f"RegStudio: {page.url}\nCtrl-C ends it; a training under way is saved first.")
    if login:  # needed on this machine too, with or without a link
        click.echo(f"User {login[0]}, password {login[1]}")
        click.echo("Warning: whoever has the password can train, delete runs, and read your files.", err=True)
    if host not in LOCAL_HOSTS and login is None:
        click.echo("Warning: everyone who can reach this machine can use the page and read your files.", err=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(page.url,), daemon=True).start()
    begin = threading.Thread(target=_begin, args=(studio, line, values["demo"], signals), name="begin")
    begin.start()
    if login:
        link.open_studio(page.port, login)
    elif share:
        _share(link)
    signals.wait()
    begin.join()
    line.close()
    _end(studio)
    link.stop()
    page.close()
    raise SystemExit(signals.exit_code)


def _checked_host(host: str) -> str:
    """Return an address that this machine can listen on; raises click.BadParameter for any other."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as place:
            place.bind(address)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.BadParameter(
            f"{host}: is no address of this machine ({reason}). "
            "Take 127.0.0.1 for this machine alone, or 0.0.0.0 for all that reach it."
        ) from None
    return host


def _said(port: int, wanted: int) -> int:
    if port != wanted:
        click.echo(f"Port {wanted} is in use; taking {port}.")
    return port


def _share(link: "Share") -> None:
    try:
        link.start()
    except RegStudioError as error:
        click.echo(f"Nothing is shared: {error} Then share it in the Share tab.", err=True)


def _studio(*, data_base_dir: Path, runs_dir: Path, roots: tuple[Path, ...], demo: bool) -> "Studio":
    """Return the studio; the demo data are the checkout's, or are made in the user's data folder."""
    from regstudio.studio.studio import Studio

    demo_dir = CHECKOUT_DATA if (CHECKOUT_DATA / "fixed").is_dir() else data_base_dir
    studio = Studio(
        runs_dir=runs_dir,
        roots=(Path.cwd(), Path.home(), *roots),
        demo_dir=demo_dir,
        data_base_dir=demo_dir if demo else data_base_dir,
    )
    # Leave one core to the page. As a setting, the number of threads is in the command line to copy, so that its losses
    # are the same to the last digit.
    studio.workspace().change_settings({"threads": max(1, (os.cpu_count() or 2) - 1)})
    return studio


def _begin(studio: "Studio", line: "WaitingLine", demo: bool, signals: StopSignals) -> None:
    """Tidy up, import torch and start the demo's training, while the first page is there already."""
    studio.remove_leftovers()
    import torch  # noqa: F401

    if signals.stop.is_set():
        return
    if demo:
        from regstudio.studio.training_control import start_demo

        try:
            run = start_demo(studio)
            click.echo(f"Training on the demo data: {run.path}")
        except RegStudioError as error:
            click.echo(f"The demo's training did not start: {error}", err=True)
    if line.names():  # of a program that has ended
        line.begin()


def _end(studio: "Studio") -> None:
    """Stop and save the training, if there is one, after the current step; stop the registering of many files."""
    if registering := studio.known_register_job:
        registering.stop()
        registering.join()
    job = studio.known_job
    if job is None:
        return
    if not job.join(0):
        click.echo(f"\n{SAVING}")
    job.stop()
    job.join()
    if job.message:
        click.echo(job.message)
