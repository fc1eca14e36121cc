"""A temporary public link: a second page that only shows chosen runs, or the whole studio, behind a password.

The tunnel is opened in a thread of its own, with a time limit; `status` says what became of it.
"""

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import click

from regstudio.errors import RunError
from regstudio.studio.studio import Studio

USER = "regstudio"
PASSWORD_LENGTH = 18  # bytes: wrong logins are not slowed down, so it must not be guessable
SECONDS = 40.0
NO_LINK = "No public link: {reason}. The studio on this machine goes on."


Login = tuple[str, str]


def new_login() -> Login:
    """Return a user name and a password that nobody can guess."""
    return USER, secrets.token_urlsafe(PASSWORD_LENGTH)


class Tunnel(Protocol):
    """What makes a port of this machine reachable from outside."""

    def open(self, port: int, token: str) -> str:
        """Open a tunnel to the port, known by `token`; return its public address. Waits, and raises what goes wrong."""

    def close(self, token: str) -> None:
        """Close the tunnel known by `token`, if there is one, and end a call of `open` that still waits for it."""


class Page(Protocol):
    """What is shared: served on a port of this machine until it is closed."""

    @property
    def port(self) -> int:
        """The port that it is served on."""

    def close(self) -> None:
        """Stop serving it."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """How the sharing stands; `link` is set once it is open, `problem` where it could not be opened."""

    state: Literal["closed", "opening", "open", "failed"] = "closed"
    link: str = ""
    password: str = ""
    problem: str = ""
    whole_studio: bool = False


class Share:
    """One public link at a time. All methods may be called from any thread and return at once."""

    def __init__(self, studio: Studio, serve_viewer: Callable[[Studio, Login], Page], tunnel: Tunnel) -> None:
        self._studio = studio
        self._serve_viewer = serve_viewer
        self._tunnel = tunnel
        self._lock = threading.Lock()
        self._status = Status()
        self._page: Page | None = None
        self._token = ""  # of the tunnel that is wanted now; one that opens too late bears another

    @property
    def status(self) -> Status:
        """How the sharing stands."""
        return self._status

    def start(self, names: Iterable[str] = ()) -> None:
        """Share the runs of these names, or all there are, to be looked at only; RunError where there are none."""
        chosen = list(names) or [run.name for run in self._studio.runs()]
        if not chosen:
            raise RunError("There is no run to share yet: train one first.")
        shared = self._studio.shared(chosen)
        login = new_login()
        # In a thread of its own: within a handler, gradio takes new components for updates of those on its page.
        self._begin(login, lambda: self._serve_viewer(shared, login), whole_studio=False)

    def open_studio(self, port: int, login: Login) -> None:
        """Share the whole studio, which is served on `port` behind `login` already."""
        self._begin(login, lambda: port, whole_studio=True)

    def stop(self) -> None:
        """Close the link, and the viewer's page behind it; nothing happens where none is open."""
        with self._lock:
            token, self._token = self._token, ""
            page, self._page = self._page, None
            self._status = Status()
        if token:
            self._tunnel.close(token)
        if page is not None:
            page.close()

    def _begin(self, login: Login, serve: Callable[[], Page | int], *, whole_studio: bool) -> None:
        with self._lock:
            if self._status.state in ("opening", "open"):
                raise RunError("There is a public link already. Stop sharing before starting anew.")
            token = self._token = secrets.token_urlsafe(32)
            self._status = Status(state="opening", password=login[1], whole_studio=whole_studio)
        threading.Thread(target=self._work, args=(serve, token), daemon=True, name="tunnel").start()
        watch = threading.Timer(SECONDS, self._give_up, args=(token,))
        watch.daemon = True
        watch.start()

    def _work(self, serve: Callable[[], Page | int], token: str) -> None:
        """Serve the page and open the tunnel to it; whatever goes wrong is told, and the studio goes on."""
        try:
            page = serve()
            if not isinstance(page, int) and not self._keep(page, token):
                return
            link = self._tunnel.open(page if isinstance(page, int) else page.port, token)
        except Exception as error:
            self._settle(
                token, "failed", problem=f"{str(error).rstrip('.')} ({type(error.__cause__ or error).__name__})"
            )
        else:
            self._settle(token, "open", link=link.replace("http://", "https://", 1))

    def _keep(self, page: Page, token: str) -> bool:
        """Keep the page to close it later, and close the one before; close this one if nobody wants it any more."""
        with self._lock:
            wanted = token == self._token
            old: Page | None = page
            if wanted:
                old, self._page = self._page, page
        if old is not None:
            old.close()
        return wanted

    def _give_up(self, token: str) -> None:
        if self._status.state == "opening":
            self._settle(token, "failed", problem=f"The tunnel did not answer within {SECONDS:.0f} s")

    def _settle(self, token: str, state: Literal["open", "failed"], *, link: str = "", problem: str = "") -> None:
        """Take over what became of a tunnel, unless it is one that nobody waits for any more: that one is closed."""
        with self._lock:
            wanted = token == self._token and self._status.state == "opening"
            if wanted:
                self._status = replace(self._status, state=state, link=link, problem=problem)
        if not wanted or state == "failed":
            self._tunnel.close(token)
        if wanted:
            _tell(self._status)


def _tell(status: Status) -> None:
    """Say in the terminal what became of it."""
    if status.state == "open":
        what = "the whole studio: whoever has it can train, and read your files" if status.whole_studio else "runs"
        click.echo(f"Public link to {what}: {status.link}\nUser {USER}, password {status.password}")
    else:
        click.echo(NO_LINK.format(reason=status.problem), err=True)
