"""Refuses requests that do not name this machine, or that come from another site's page (CSRF, DNS rebinding).

A browser runs the scripts of every site that its user visits, and those can send requests to 127.0.0.1. gradio only
hides the answers from them; the guard refuses the requests, so that no site can start, stop, upload or delete anything.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The browser loads nothing from other machines, whatever the page shows, and no other site may frame the page.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {"content-security-policy": POLICY, "referrer-policy": "same-origin", "x-content-type-options": "nosniff"}


class Guard:
    """An ASGI middleware. `names` are the host names that requests may use; None allows all, for a page with a login.

    `addresses` also allows every numeric address: DNS rebinding works by name, not by number.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None, *, addresses: bool = False) -> None:
        self._app, self._names, self._addresses = app, names, addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it with the reason."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            text = "This name does not belong to the page. Open it by the address that its terminal shows."
            await PlainTextResponse(text, 400)(scope, receive, send)
        elif self._is_foreign(headers):
            await PlainTextResponse("Another site asked this; only the page itself may.", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _is_ours(self, host: str) -> bool:
        name = _hostname(host)
        return self._names is None or name in self._names or (self._addresses and _is_address(name))

    def _is_foreign(self, headers: Headers) -> bool:
        # Other sites may link to the page; their forms are recognised by the Origin header.
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
            return True
        origin = headers.get("origin")
        if origin is None:
            return False
        hosts = {headers.get("host"), headers.get("x-forwarded-host")}
        if self._names is None and headers.get("sec-fetch-site") == "same-origin":
            return False  # a tunnel may use another host name than the browser
        return urlsplit(origin).netloc not in hosts


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
