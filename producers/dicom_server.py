"""The listening socket of the DICOM adapter: one thread an association, TLS handshakes included."""

import select
import socket
import ssl
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from functools import partial
from socketserver import BaseServer
from typing import Any, Final, cast

import structlog
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from producers.association import NETWORK_SECONDS
from producers.occupancy import Occupancy
from producers.upper_layer import AcceptedAssociation, ReceivingSocket, bound_waits

HANDSHAKE_SECONDS: Final = 10.0
BACKLOG: Final = 128
#: How long a busy acceptor leaves a connection to less busy ones, and how often it looks whether one has taken it.
DEFERENCE_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.002

log = structlog.get_logger()


class _Unseen(OSError):
    """There is no connection to take, after all; `socketserver` goes on."""


class _Handler(RequestHandler):
    """Makes an association of a connection."""

    def _create_association(self) -> Association:
        server = cast(DicomServer, self.server)
        admit, leave = partial(server.admit, self.client_address), partial(server.leave, self.client_address)
        association = AcceptedAssociation(self.ae, admit, leave)
        association._server = server
        association.name = f"AcceptorThread@{datetime.now():%Y%m%d%H%M%S}"  # pynetdicom finds its threads by name
        association.set_socket(ReceivingSocket(association, client_socket=self.request))
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        acceptor.supported_contexts = deepcopy(server.contexts)
        association.requestor.address_info = self.remote
        for event, handlers in server._handlers.items():
            if isinstance(event, evt.NotificationEvent):
                for handler, arguments in cast(list[tuple[Callable[..., Any], list[Any] | None]], handlers):
                    association.bind(event, handler, arguments)
            elif handlers:
                association.bind(event, *cast(tuple[Callable[..., Any], list[Any] | None], handlers))
        return association


class DicomServer(ThreadedAssociationServer):
    """pynetdicom's server on a socket that several processes may share.

    - A connection goes to the process that has the fewest: busier ones hold back, but not for long.
    - There are no more connections than `Occupancy` has room for.
    - TLS handshakes are off the accepting thread, where one silent peer would block all.

    Args:
        listener: Bound and listening; this server closes its descriptor in the end.
        occupancy: Who is connected.
        entity: Who accepts.
        security: TLS, or None for none.
        handlers: As pynetdicom takes them.
        on_round: Called several times a second, as the accepting loop goes round.
    """

    def __init__(
        self,
        listener: socket.socket,
        occupancy: Occupancy,
        entity: AE,
        security: ssl.SSLContext | None,
        handlers: list[evt.EventHandlerType],
        on_round: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._occupancy = occupancy
        self._places: dict[Any, int] = {}
        self._on_round = on_round
        address, contexts = listener.getsockname(), entity.supported_contexts
        super().__init__(entity, address, entity.ae_title, contexts, security, handlers, _Handler)

    def server_bind(self) -> None:
        """Takes the socket that there is in place of a new one."""
        cast(socket.socket, self.socket).close()
        self._listener.setblocking(False)  # another process may be quicker
        self.socket = self._listener
        self.server_address = self._listener.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def server_close(self) -> None:
        """Closes this process's descriptor, and no more: others may go on to listen."""
        self._listener.close()

    def service_actions(self) -> None:
        """Called by the accepting loop as it goes round; pynetdicom would collect garbage here, with all waiting."""
        self._on_round()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection and leaves the handshake to its own thread."""
        self._defer()
        connection, address = self._listener.accept()
        place = self._occupancy.enter(address[0])
        if place is None:
            connection.close()
            log.warning("connection refused", peer_address=address[0], cause="too many connections")
            raise _Unseen
        self._places[address] = place
        bound_waits(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def _defer(self) -> None:
        """Leaves the connection that waits to a process that has fewer, if one takes it soon."""
        deadline = time.monotonic() + DEFERENCE_SECONDS
        while self._occupancy.excess > 0 and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            if not select.select([self._listener], [], [], 0)[0]:
                raise _Unseen

    def admit(self, address: Any, ae_title: str) -> bool:
        """Whether the connection from this address and port may have an association under this calling AE title."""
        return self._occupancy.admit(self._places[address], ae_title)

    def leave(self, address: Any) -> None:
        """The connection from this address and port is gone."""
        if (place := self._places.pop(address, None)) is not None:
            self._occupancy.leave(place)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shakes hands, then runs the association; called in the connection's thread."""
        if self.ssl_context is not None:
            request.settimeout(HANDSHAKE_SECONDS)
            request = self.ssl_context.wrap_socket(request, server_side=True)
            request.settimeout(NETWORK_SECONDS)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that never became an association, most often a peer without a certificate."""
        self.leave(client_address)
        log.warning("connection refused", peer_address=client_address[0], cause="no TLS handshake")

    def shutdown(self) -> None:
        """Stops accepting; associations that run go on."""
        BaseServer.shutdown(self)
        self.server_close()
