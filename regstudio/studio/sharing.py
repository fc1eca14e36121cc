"""A temporary public link, behind a password: to a second page that only shows chosen runs, or to the whole studio.

A background thread opens the tunnel, within a time limit; `Share.status` says how that went.
"""

import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import click

from regstudio.errors import RegStudioError, RunError
from regstudio.studio.studio import Studio

USER = "regstudio"
PASSWORD_LENGTH = 18  # random bytes: gradio does not slow down wrong logins
TUNNEL_TIMEOUT = 40.0  # seconds
NO_LINK = "No public link: {reason}. The studio on this machine goes on."

Login = tuple[str, str]  # user, password


def new_login() -> Login:
    """Return the user name and a random password."""
    return USER, secrets.token_urlsafe(PASSWORD_LENGTH)


class Tunnel(Protocol):
    """Makes a port of this machine reachable from outside."""

    def open(self, port: int, token: str) -> str:
        """Open a tunnel to the port, named by `token`; wait for its public address and return it."""

    def close(self, token: str) -> None:
        """Close the tunnel named by `token`, if there is one, and end a call of `open` that still waits for it."""


class SharedPage(Protocol):
    """The page that is shared: served on a port of this machine until it is closed."""

    @property
    def port(self) -> int:
        """The port that it is served on."""

    def close(self) -> None:
        """Stop serving it."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of the public link; `link` is set once it is open, `problem` if it could not be opened."""

    state: Literal["closed", "opening", "open", "failed"] = "closed"
    link: str = ""
    password: str = ""
    problem: str = ""
    whole_studio: bool = False


class Share:
    """Opens and closes the public link, one at a time. Thread-safe; no method waits for the tunnel."""

    def __init__(
        self,
        studio: Studio,
        serve_viewer: Callable[[Studio, Login], SharedPage],
        tunnel: Tunnel,
        *,
        timeout: float = TUNNEL_TIMEOUT,
    ) -> None:
        self._studio = studio
        self._serve_viewer = serve_viewer
        self._tunnel = tunnel
        self._timeout = timeout
        self._lock = threading.Lock()
        self._status = Status()
        self._page: SharedPage | None = None
        self._token = ""  # of the current tunnel; a tunnel that opens too late has another

    @property
    def status(self) -> Status:
        """The state of the public link."""
        return self._status

    def start(self, names: Iterable[str] = ()) -> None:
        """Share these runs, or all runs, to look at; raises RunError if there are none."""
        chosen = list(names) or [run.path.name for run in self._studio.run_folders()]
        if not chosen:
            raise RunError("There is no run to share yet: train one first.")
        shared = self._studio.shared(chosen)
        login = new_login()
        # The background thread builds the page: within a handler, gradio takes new components for updates.
        self._begin(login, lambda: self._serve_viewer(shared, login), whole_studio=False)

    def open_studio(self, port: int, login: Login) -> None:
        """Share the whole studio, which already is served on `port` behind `login`."""
        self._begin(login, lambda: port, whole_studio=True)

    def stop(self) -> None:
        """Close the link and the page behind it, if one is open."""
        with self._lock:
            token, self._token = self._token, ""
            page, self._page = self._page, None
            self._status = Status()
        if token:
            self._tunnel.close(token)
        if page is not None:
            page.close()

    def _begin(self, login: Login, serve: Callable[[], SharedPage | int], *, whole_studio: bool) -> None:
        with self._lock:
            if self._status.state in ("opening", "open"):
                raise RunError("There is a public link already. Stop sharing before starting anew.")
            token = self._token = secrets.token_urlsafe(32)
            self._status = Status(state="opening", password=login[1], whole_studio=whole_studio)
        threading.Thread(target=self._work, args=(serve, token), daemon=True, name="tunnel").start()
        timer = threading.Timer(self._timeout, self._give_up, args=(token,))
        timer.daemon = True
        timer.start()

    def _work(self, serve: Callable[[], SharedPage | int], token: str) -> None:
        """Serve the page and open the tunnel to it; errors go into the status."""
        try:
            page = serve()
            if not isinstance(page, int) and not self._keep(page, token):
                return
            link = self._tunnel.open(page if isinstance(page, int) else page.port, token)
        except RegStudioError as error:
            self._settle(token, "failed", problem=str(error).rstrip("."))
        except Exception as error:
            self._settle(
                token, "failed", problem=f"{str(error).rstrip('.')} ({type(error.__cause__ or error).__name__})"
            )
        else:
            self._settle(token, "open", link=link.replace("http://", "https://", 1))

    def _keep(self, page: SharedPage, token: str) -> bool:
        """Keep the page to close it later, and close the previous one; close this one if sharing was stopped."""
        with self._lock:
            current = token == self._token
            to_close: SharedPage | None = page
            if current:
                to_close, self._page = self._page, page
        if to_close is not None:
            to_close.close()
        return current

    def _give_up(self, token: str) -> None:
        if self._status.state == "opening":
            self._settle(token, "failed", problem=f"The tunnel did not answer within {self._timeout:g} s")

    def _settle(self, token: str, state: Literal["open", "failed"], *, link: str = "", problem: str = "") -> None:
        """Set the status of the current tunnel; close a tunnel that failed, or that is not current any more."""
        with self._lock:
            current = token == self._token and self._status.state == "opening"
            if current:
                self._status = replace(self._status, state=state, link=link, problem=problem)
        if not current or state == "failed":
            self._tunnel.close(token)
        if current:
            _print(self._status)


def _print(status: Status) -> None:
    """Print the link and its password, or the reason why there is none, to the terminal."""
    if status.state == "open":
        what = "the whole studio: whoever has it can train, and read your files" if status.whole_studio else "runs"
        click.echo(f"Public link to {what}: {status.link}\nUser {USER}, password {status.password}")
    else:
        click.echo(NO_LINK.format(reason=status.problem), err=True)
