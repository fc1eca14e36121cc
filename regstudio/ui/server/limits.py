"""ASGI middleware: how often a wrong password may be tried, and uploads that are cut off."""

import ipaddress
import threading
import time
from collections import defaultdict, deque

from starlette.formparsers import MultiPartException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regstudio.ui.server.timeouts import PEER

WRONG_PASSWORDS = 5  # within WINDOW_SECONDS, from one address
WINDOW_SECONDS = 60.0
MAX_ADDRESSES = 10_000  # remembered at once


class LoginLimit:
    """Refuses to look at passwords from an address that has sent `WRONG_PASSWORDS` wrong ones within the last minute.

    Addresses are those of the connection: what a request says of itself can be invented. All guests who come through a
    tunnel share one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._tries: defaultdict[str, deque[float]] = defaultdict(deque)  # wrong ones, and those not judged yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it with the reason."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].rstrip("/").endswith("/login"):
            await self._app(scope, receive, send)
            return
        address, now = _network(scope), time.monotonic()
        wait = self._begin(address, now)
        if wait > 0:
            text = f"Too many wrong passwords. Try again in {wait:.0f} seconds."
            refusal = JSONResponse({"detail": text, "error": text}, 429, {"retry-after": f"{wait:.0f}"})
            await refusal(scope, receive, send)
            return

        async def judged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._forgive(address, now)
            await send(message)

        await self._app(scope, receive, judged)

    def _begin(self, address: str, now: float) -> float:
        """Count a try as a wrong one, for now, and return 0; without any left, return the seconds to wait."""
        with self._lock:
            if len(self._tries) > MAX_ADDRESSES:
                recent = {name: tries for name, tries in self._tries.items() if tries[-1] > now - WINDOW_SECONDS}
                self._tries = defaultdict(deque, recent)
            tries = self._tries[address]
            while tries and tries[0] <= now - WINDOW_SECONDS:
                tries.popleft()
            if len(tries) >= WRONG_PASSWORDS:
                return max(1.0, tries[0] + WINDOW_SECONDS - now)
            tries.append(now)
            return 0.0

    def _forgive(self, address: str, now: float) -> None:
        with self._lock:
            tries = self._tries[address]
            if now in tries:
                tries.remove(now)
            if not tries:
                del self._tries[address]


class CutOffUploads:
    """Has gradio remove what came of an upload whose connection breaks: else its temporary file would stay."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        form = any(name == b"content-type" and value.startswith(b"multipart/") for name, value in scope["headers"])
        complete = False

        async def received() -> Message:
            nonlocal complete
            message = await receive()
            if message["type"] == "http.disconnect" and not complete:
                # What gradio takes for a fault of the form: it then removes the files that it has begun.
                raise MultiPartException("The upload was cut off.")
            complete = complete or not message.get("more_body", False)
            return message

        await self._app(scope, received if form else receive, send)


def _network(scope: Scope) -> str:
    """Return the client's address; of IPv6 the network, as one machine has many addresses there."""
    peer = scope.get("extensions", {}).get(PEER) or scope.get("client") or ("unknown", 0)
    host = str(peer[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else host
