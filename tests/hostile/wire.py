"""The requesting end of an association, byte by byte (PS3.8 section 9.3), so that it can lie in every field."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pydicom.uid import UID, ComputedRadiographyImageStorage, ImplicitVRLittleEndian

from tests.hostile.elements import Elements

RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
SECONDS = 30.0
PDU_BYTES = 16_000
COMMAND = Elements(ImplicitVRLittleEndian)
C_STORE, C_STORE_RSP, NO_DATA_SET = 0x0001, 0x8001, 0x0101


def pdu(kind: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBL", kind, 0, len(content) if length is None else length) + content


def item(kind: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content) & 0xFFFF if length is None else length) + content


def context(number: int, abstract: str, syntaxes: Sequence[str]) -> bytes:
    inside = item(0x30, abstract.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
    return item(0x20, bytes([number, 0, 0, 0]) + inside)


def request(
    contexts: bytes, user: bytes | None = None, called: str = "RADIOLOG", calling: str = "HOSTILE", version: int = 1
) -> bytes:
    """The variable field of A-ASSOCIATE-RQ behind its length."""
    if user is None:
        user = item(0x51, struct.pack(">L", PDU_BYTES)) + item(0x52, b"1.2.3.4") + item(0x55, b"HOSTILE")
    head = struct.pack(">HH16s16s32x", version, 0, called.encode().ljust(16), calling.encode().ljust(16))
    return head + item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + item(0x50, user)


def pdv(context_id: int, control: int, content: bytes, length: int | None = None) -> bytes:
    """A presentation data value; control 1 is a command, 2 the last fragment."""
    return struct.pack(">LBB", len(content) + 2 if length is None else length, context_id, control) + content


def command(field_: int, data_set: int = 1, number: int = 1, **texts: str) -> bytes:
    """A command set (PS3.7 section 6.3) with its group length."""
    values = {
        0x00000002: COMMAND.element(0x00000002, "UI", texts.get("sop_class", ComputedRadiographyImageStorage).encode()),
        0x00000100: COMMAND.number(0x00000100, field_),
        0x00000110: COMMAND.number(0x00000110, number),
        0x00000700: COMMAND.number(0x00000700, 0),
        0x00000800: COMMAND.number(0x00000800, data_set),
        0x00001000: COMMAND.element(0x00001000, "UI", texts.get("sop_instance", "1.2.3").encode()),
    }
    return with_length(b"".join(values[tag] for tag in sorted(values)))


def with_length(content: bytes) -> bytes:
    return COMMAND.element(0, "UL", struct.pack("<L", len(content))) + content


def fragments(context_id: int, content: bytes, control: int = 0) -> Iterator[bytes]:
    """P-DATA-TF PDUs of a command or a data set."""
    size = PDU_BYTES - 6
    pieces = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    for number, piece in enumerate(pieces):
        yield pdu(DATA, pdv(context_id, control | (2 if number == len(pieces) - 1 else 0), piece))


class Closed(Exception):
    """The adapter has ended the connection: by A-ASSOCIATE-RJ, by A-ABORT, or just so."""


@dataclass
class Wire:
    """A connection to the DICOM port from an address of one's own."""

    port: int
    source: str = "127.0.0.2"
    seconds: float = SECONDS
    connection: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self.port), self.seconds, (self.source, 0))

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self, *, hard: bool = False) -> None:
        with suppress(OSError):
            if hard:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def send(self, content: bytes) -> None:
        """Raises Closed."""
        try:
            self.connection.sendall(content)
        except OSError as error:
            raise Closed from error

    def read(self) -> tuple[int, bytes]:
        """The next PDU; raises Closed, or TimeoutError where none comes."""
        try:
            kind, _, length = struct.unpack(">BBL", self._read(6))
            return kind, self._read(length)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed from error

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            if not (piece := self.connection.recv(count - len(content))):
                raise Closed
            content += piece
        return content

    def associate(self, contexts: bytes) -> bool:
        """Whether the association was accepted."""
        self.send(pdu(RQ, request(contexts)))
        return self.read()[0] == AC

    def store(self, context_id: int, dataset: bytes, sop_class: str) -> tuple[int, str]:
        """Status and Error Comment of the answer to a C-STORE; raises Closed."""
        parts = [*fragments(context_id, command(C_STORE, sop_class=sop_class), 1), *fragments(context_id, dataset)]
        self.send(b"".join(parts))
        return self.answer()

    def answer(self) -> tuple[int, str]:
        kind, content = self.read()
        if kind != DATA:
            raise Closed
        return answered(content[6:])

    def release(self) -> None:
        with suppress(Closed, TimeoutError):
            self.send(pdu(RELEASE_RQ, bytes(4)))
            self.read()
        self.close()


def answered(command_set: bytes) -> tuple[int, str]:
    """Status (0000,0900) and Error Comment (0000,0902) of a response."""
    at, status, comment = 0, -1, ""
    while at + 8 <= len(command_set):
        group, element, length = struct.unpack_from("<HHL", command_set, at)
        value = command_set[at + 8 : at + 8 + length]
        if (group, element) == (0, 0x0900):
            (status,) = struct.unpack("<H", value)
        elif (group, element) == (0, 0x0902):
            comment = value.decode("ascii", "replace").strip("\0 ")
        at += 8 + length
    return status, comment


def storage_contexts(syntaxes: Sequence[UID]) -> bytes:
    """One context a transfer syntax: 1, 3, 5 and so on."""
    return b"".join(
        context(2 * number + 1, ComputedRadiographyImageStorage, [syntax]) for number, syntax in enumerate(syntaxes)
    )
