"""Closes connections that ask for nothing: a request that does not come to its end would hold one for ever.

It also tells the middleware whose connection it is.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as HTTPProtocol
else:
    HTTPProtocol = AutoHTTPProtocol

HEAD_SECONDS = 20.0  # from the connection, or the last answer, to the end of a request's head
BODY_SECONDS = 60.0  # from one piece of a request's body to the next
PEER = "regstudio.peer"  # the extension of a request's scope with the address of the connection
CHECKS = 4  # within the shorter of the two


class PatientProtocol(HTTPProtocol):
    """Uvicorn's protocol with a limit to its patience. Answers, however long they take, have none."""

    head_seconds = HEAD_SECONDS
    body_seconds = BODY_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.app = _telling_peer(self.app)
        self._waiting_since = self._heard_at = self.loop.time()
        self._check_later()

    def data_received(self, data: bytes) -> None:
        """Note when something came last."""
        self._heard_at = self.loop.time()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._waiting_since = self.loop.time()
        super().on_response_complete()

    def _check_later(self) -> None:
        self.loop.call_later(min(self.head_seconds, self.body_seconds) / CHECKS, self._check)

    def _check(self) -> None:
        # After an upgrade to a WebSocket, another protocol has the transport.
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        now, cycle = self.loop.time(), self.cycle
        if cycle is None or cycle.response_complete:
            late = now - self._waiting_since > self.head_seconds
        else:  # where reading is paused, this program is the one that is slow
            late = cycle.more_body and not self.flow.read_paused and now - self._heard_at > self.body_seconds
        if late:
            self.transport.abort()
        else:
            self._check_later()


def _telling_peer(app: Any) -> Any:
    """Wrap uvicorn's app, which lets a request's own headers say where it comes from, to tell who is connected."""

    async def told(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})[PEER] = scope.get("client")
        await app(scope, receive, send)

    return told


def limit_patience(server: uvicorn.Server) -> None:
    """Close half-open connections of a server that runs already; those that are open by now keep their protocol."""
    config: Any = server.config
    config.http_protocol_class = PatientProtocol
