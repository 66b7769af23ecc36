"""What one connection may cost, which uvicorn leaves open.

uvicorn bounds the size of a request's head and the idle time between requests, but waits for a head for as long as
bytes of it drip in, and counts connections only once they bring a request. Here a head comes within `HEAD_SECONDS`, and
a connection above a limit is told so and closed. A request that was refused early is read on for as long, and its
bytes dropped, because a client that is still sending would lose the answer if the connection were reset.
"""

import asyncio
from typing import Any, Final, cast

from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from producers.stow.access import CERTIFICATE_NAME

HEAD_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 64
#: Of them, those of one address, so that nobody alone can keep all others out.
MAX_PEER_CONNECTIONS: Final = 48
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedConnection(H11Protocol):
    """One connection of the adapter."""

    head_seconds = HEAD_SECONDS
    max_connections = MAX_CONNECTIONS
    max_peer_connections = MAX_PEER_CONNECTIONS
    _deadline: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections or self._of_peer() > self.max_peer_connections:
            transport.write(_FULL)
            transport.close()
            return
        self.app_state = {**self.app_state, CERTIFICATE_NAME: _common_name(transport)}
        self._await_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    @override
    def on_response_complete(self) -> None:
        self._await_head()
        super().on_response_complete()

    def _of_peer(self) -> int:
        """How many connections there are from the same address, this one included."""
        clients = (cast(BoundedConnection, one).client for one in self.connections)
        return sum(client is not None and client[:1] == (self.client or ())[:1] for client in clients)

    def _await_head(self) -> None:
        self._forget_deadline()
        self._deadline = self.loop.call_later(self.head_seconds, self._give_up)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _give_up(self) -> None:
        """Closes the connection, unless a request is being answered, whose body has a limit of its own."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _common_name(transport: asyncio.Transport) -> str:
    """Of the client's certificate, which its authority vouches for; "" without one."""
    certificate = cast(dict[str, Any], transport.get_extra_info("peercert") or {})
    names = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return next(names, "")
