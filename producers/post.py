"""What an acceptor process takes its place with: the listening socket and the table of who is connected."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

from producers.dicom_server import BACKLOG
from producers.occupancy import Limits, Occupancy, shared_file
from radiolog.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Post:
    """One acceptor's.

    Attributes:
        ordinal: which of the adapter's acceptors it is, from 0.
        listener: bound and listening; shared with the other acceptors.
        occupancy: shared likewise.
    """

    ordinal: int
    listener: socket.socket
    occupancy: Occupancy

    @classmethod
    def alone(cls, settings: Settings) -> Self:
        """The post of the only acceptor.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        limits = replace(Limits.of(settings), acceptors=1)
        return cls(0, listening(settings), Occupancy(shared_file(limits), limits))

    @classmethod
    def inherited(cls, text: str, settings: Settings) -> Self:
        """The post that `Posts.text` describes, in a process that has inherited `Posts.descriptors`."""
        ordinal, listener, table = map(int, text.split(":"))
        return cls(ordinal, socket.socket(fileno=listener), Occupancy(table, Limits.of(settings), ordinal))


@dataclass(frozen=True, slots=True)
class Posts:
    """Those of all acceptors, as the parent hands them down.

    Attributes:
        descriptors: of the listening socket and of the table.
    """

    descriptors: tuple[int, int]

    def text(self, ordinal: int) -> str:
        """Describes one of them."""
        listener, table = self.descriptors
        return f"{ordinal}:{listener}:{table}"


@contextmanager
def posts(settings: Settings) -> Iterator[Posts]:
    """Listens meanwhile, and accepts nobody.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    with listening(settings) as listener, shared_file(Limits.of(settings)) as table:
        yield Posts((listener.fileno(), table.fileno()))


def listening(settings: Settings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    host, port = settings.dicom_host, settings.dicom_port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise SettingsError(
            f"cannot listen on {host}:{port} ({cause}): is another adapter running? "
            "RADIOLOG_DICOM_HOST and RADIOLOG_DICOM_PORT choose the address."
        ) from error
    return listener
