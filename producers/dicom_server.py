"""The listening socket of the DICOM adapter: one thread an association, TLS handshakes included."""

import socket
from collections.abc import Callable
from socketserver import BaseServer
from typing import Any, cast

import structlog
from pynetdicom.transport import ThreadedAssociationServer

from producers.association import NETWORK_SECONDS

HANDSHAKE_SECONDS = 10.0

log = structlog.get_logger()


class DicomServer(ThreadedAssociationServer):
    """pynetdicom's server, with the TLS handshake off the accepting thread, where one silent peer would block all."""

    on_round: Callable[[], None] = staticmethod(lambda: None)

    def service_actions(self) -> None:
        """Called by the accepting loop as it goes round."""
        super().service_actions()
        self.on_round()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection and leaves the handshake to its own thread."""
        connection, address = cast(socket.socket, self.socket).accept()
        connection.settimeout(NETWORK_SECONDS)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shakes hands, then runs the association; called in the connection's thread."""
        if self.ssl_context is not None:
            request.settimeout(HANDSHAKE_SECONDS)
            request = self.ssl_context.wrap_socket(request, server_side=True)
            request.settimeout(NETWORK_SECONDS)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that never became an association, most often a peer without a certificate."""
        log.warning("connection refused", peer_address=client_address[0])

    def shutdown(self) -> None:
        """Stops accepting; associations that run go on."""
        BaseServer.shutdown(self)
        self.server_close()
