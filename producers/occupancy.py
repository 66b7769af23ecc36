"""Who is connected to a DICOM adapter, and how much it holds for them: shared by all of its acceptor processes.

It is a table in a file of no name that each process maps into its memory. Each acceptor writes rows of its own alone.
The rows of a process that was killed stop to count with its end, and its successor clears them.
"""

import fcntl
import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from mmap import mmap
from typing import IO, Final

from radiolog.settings import Settings

SPARE_CONNECTIONS: Final = 32
"""Connections beyond the associations that may be there: of those who are yet to ask, or to be told of no room."""

_HEADER: Final = struct.Struct("<qqq")  # process id, connections, bytes held
_ROW: Final = struct.Struct("<B7x16s16s")  # state, address, AE title


class _State(IntEnum):
    """Of a row."""

    FREE = 0
    CONNECTED = 1
    ASSOCIATED = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """What the adapter takes, all of its processes together.

    Attributes:
        acceptors: processes.
        associations: at a time.
        of_peer: associations of one calling AE title, and those of one address.
    """

    acceptors: int
    associations: int
    of_peer: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the settings have it."""
        return cls(settings.dicom_acceptors, settings.dicom_associations, settings.dicom_peer_associations)

    @property
    def connections(self) -> int:
        """At a time; more are closed unheard."""
        return self.associations + SPARE_CONNECTIONS


class Occupancy:
    """The table, as one acceptor sees and writes it; any number of its threads may do so at the same time.

    Args:
        file: What `shared_file` gave, in this process or in the parent of it.
        limits: The same in all processes.
        acceptor: Whose rows are this process's, from 0.
    """

    def __init__(self, file: IO[bytes] | int, limits: Limits, acceptor: int = 0) -> None:
        self._descriptor = file if isinstance(file, int) else file.fileno()
        self._file = file
        self._limits = limits
        self._size = _HEADER.size + limits.connections * _ROW.size
        self._map = mmap(self._descriptor, limits.acceptors * self._size)
        self._mine = acceptor * self._size
        self._threads = threading.Lock()
        with self._locked():
            self._map[self._mine : self._mine + self._size] = bytes(self._size)
            self._write_header(os.getpid(), 0, 0)

    def enter(self, address: str) -> int | None:
        """Gives a connection from this address its place; None where there is no room, and it is best closed."""
        with self._locked():
            rows = self._rows()
            if len(rows) >= self._limits.connections or sum(row[1] == _packed(address) for row in rows) >= (
                self._limits.of_peer + SPARE_CONNECTIONS
            ):
                return None
            place = next(place for place in range(self._limits.connections) if not self._row(self._mine, place)[0])
            self._write_row(place, _State.CONNECTED, _packed(address), b"")
            self._count(1)
            return place

    def admit(self, place: int, ae_title: str) -> bool:
        """Whether the connection at this place may have an association under the calling AE title; it has one then."""
        title = ae_title.encode("ascii", "replace")[:16].ljust(16)
        with self._locked():
            _, address, _ = self._row(self._mine, place)
            present = [row for row in self._rows() if row[0] == _State.ASSOCIATED]
            if len(present) >= self._limits.associations:
                return False
            if max(sum(row[2] == title for row in present), sum(row[1] == address for row in present)) >= (
                self._limits.of_peer
            ):
                return False
            self._write_row(place, _State.ASSOCIATED, address, title)
            return True

    def leave(self, place: int) -> None:
        """The connection is gone."""
        with self._locked():
            self._write_row(place, _State.FREE, b"", b"")
            self._count(-1)

    def hold(self, held: int) -> int:
        """Notes how many bytes this process holds of objects on their way; gives what all hold together.

        No lock: processes that note at the same moment may exceed a limit by what each has just read, a PDU.
        """
        struct.pack_into("<q", self._map, self._mine + 16, held)
        return sum(bytes_held for _, _, bytes_held in self._living())

    @property
    def excess(self) -> int:
        """Connections that this process has more than the least busy one."""
        _, mine, _ = self._header(self._mine)
        return mine - min((connections for _, connections, _ in self._living()), default=mine)

    def _living(self) -> list[tuple[int, int, int]]:
        headers = [self._header(start) for start in self._starts()]
        return [header for header in headers if _lives(header[0])]

    def _rows(self) -> list[tuple[int, bytes, bytes]]:
        """Those that are taken, of all processes that live."""
        starts = [start for start in self._starts() if _lives(self._header(start)[0])]
        rows = (self._row(start, place) for start in starts for place in range(self._limits.connections))
        return [row for row in rows if row[0]]

    def _starts(self) -> range:
        return range(0, self._limits.acceptors * self._size, self._size)

    def _header(self, start: int) -> tuple[int, int, int]:
        return _HEADER.unpack_from(self._map, start)

    def _write_header(self, pid: int, connections: int, held: int) -> None:
        _HEADER.pack_into(self._map, self._mine, pid, connections, held)

    def _count(self, more: int) -> None:
        _, connections, _ = self._header(self._mine)
        struct.pack_into("<q", self._map, self._mine + 8, connections + more)

    def _row(self, start: int, place: int) -> tuple[int, bytes, bytes]:
        return _ROW.unpack_from(self._map, start + _HEADER.size + place * _ROW.size)

    def _write_row(self, place: int, state: _State, address: bytes, title: bytes) -> None:
        _ROW.pack_into(self._map, self._mine + _HEADER.size + place * _ROW.size, state, address, title)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One thread of one process at a time; the system unlocks for a process that is killed."""
        with self._threads:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


def shared_file(limits: Limits) -> IO[bytes]:
    """A file for the table of so many acceptors; it is gone once the last process that has it open has ended."""
    file = tempfile.TemporaryFile(prefix="radiolog-")  # noqa: SIM115 - it is for the caller to close
    file.truncate(limits.acceptors * (_HEADER.size + limits.connections * _ROW.size))
    return file


def _packed(address: str) -> bytes:
    """An address as 16 bytes, IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2)."""
    parsed = ip_address(address.partition("%")[0])
    return parsed.packed if isinstance(parsed, IPv6Address) else b"\0" * 10 + b"\xff\xff" + parsed.packed


def _lives(pid: int) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
