"""Serves a page: its theme, its style sheets, its port, and which requests it answers."""

import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from starlette.middleware import Middleware

from regstudio.data.folders.archives import MAX_UPLOAD_BYTES
from regstudio.errors import ConfigError
from regstudio.files import asset
from regstudio.ui.server.guard import Guard
from regstudio.ui.server.limits import CutOffUploads, LoginLimit
from regstudio.ui.server.theme import THEME, colour_tokens
from regstudio.ui.server.timeouts import limit_patience

LOCAL_HOSTS = ("127.0.0.1", "localhost")
MAX_PORTS = 100  # to try, from the wanted one on


@dataclass(frozen=True)
class ServedPage:
    """A page that is being served, by background threads."""

    app: gr.Blocks
    url: str

    @property
    def port(self) -> int:
        """The port that it is served on."""
        return urlsplit(self.url).port or 80

    def close(self) -> None:
        """Stop serving it."""
        self.app.close(verbose=False)


def serve(
    app: gr.Blocks,
    *,
    host: str = "127.0.0.1",
    port: int,
    login: tuple[str, str] | None = None,
    max_bytes: int = MAX_UPLOAD_BYTES,
) -> ServedPage:
    """Serve the page, to those who know `login` if there is one; raises OSError if the port is taken.

    The page accepts files up to `max_bytes`. It answers only requests that name this machine, so that no web site can
    reach it under a name of its own (DNS rebinding); a page with a login answers under any name.
    """
    names = {*LOCAL_HOSTS, host, socket.gethostname(), f"{socket.gethostname()}.local"}
    local = host in LOCAL_HOSTS
    closed: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}
    allowed = None if login else LOCAL_HOSTS if local else frozenset(map(str.lower, names))
    guard = Middleware(Guard, allowed, addresses=not local)
    middleware = [guard, Middleware(LoginLimit), Middleware(CutOffUploads)]
    _, url, _ = app.launch(
        server_name=host,
        server_port=port,
        share=False,
        auth=login,
        quiet=True,
        prevent_thread_lock=True,
        show_error=True,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        max_file_size=max_bytes,
        theme=THEME,
        css=colour_tokens(),
        css_paths=[asset("studio.css")],
        favicon_path=asset("mark.svg"),
        pwa=True,  # a browser can install the page as a program of its own
        _frontend=False,  # else gradio first sends itself a request, which fails behind a proxy and on a busy machine
        app_kwargs={"middleware": middleware, **closed},
    )
    limit_patience(app.server)
    return ServedPage(app, str(url))


def free_port(wanted: int) -> int:
    """Return the first port from `wanted` on that nothing listens on; raises ConfigError if there is none."""
    for port in range(wanted, min(wanted + MAX_PORTS, 65536)):
        with socket.socket() as probe:
            if os.name == "posix":  # elsewhere the option would allow a port that is in use
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ConfigError(f"No port from {wanted} on is free. Choose another with --port.")
