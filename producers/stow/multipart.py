"""Takes a body apart into instances while it comes (RFC 2046 section 5.1, RFC 2387, PS3.18 section 8.6.1.2).

python-multipart's low-level parser is named for multipart/form-data, but splits any multipart body: it knows boundaries
and part headers, holds nothing but part of a boundary, and bounds headers in number and size. Two things it leaves to
us: it takes an early end for the end, and it skips no preamble but line ends, which are all that DICOM's clients send.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from producers.stow.faults import RequestFault

PART_HEADERS: Final = 16
PART_HEADER_BYTES: Final = 4096

# Its warnings quote the byte that it stumbled over; what matters of them is in the answer.
logging.getLogger("python_multipart.multipart").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins; its headers, names in lower case."""

    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Data:
    """More of the part that began last."""

    piece: memoryview


@dataclass(frozen=True, slots=True)
class End:
    """The part is complete."""


Event = Begin | Data | End


class Body(Protocol):
    """A body as instances; any split of the same bytes gives the same instances."""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """What `chunk` adds.

        Raises:
            RequestFault: 400, it is malformed here.
        """

    def finish(self) -> Iterator[Event]:
        """What the end of the body adds.

        Raises:
            RequestFault: 400, it is cut off.
        """


class Single:
    """A body that is one instance."""

    def __init__(self) -> None:
        self._begun = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The body as it is."""
        if chunk and not self._begun:
            self._begun = True
            yield Begin()
        yield Data(memoryview(chunk))

    def finish(self) -> Iterator[Event]:
        """The end of the instance, if there is one."""
        if not self._begun:
            raise RequestFault(HTTPStatus.BAD_REQUEST, "the body is empty")
        yield End()


class Related:
    """A body of multipart/related."""

    def __init__(self, boundary: bytes) -> None:
        self._events: list[Event] = []
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._begun = self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": lambda: self._events.append(Begin(self._headers)),
                "on_part_data": lambda data, start, end: self._events.append(Data(memoryview(data)[start:end])),
                "on_part_end": lambda: self._events.append(End()),
                "on_end": self._on_end,
            },
            max_header_count=PART_HEADERS,
            max_header_size=PART_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Parts as they come; what follows the closing boundary is skipped (RFC 2046: the epilogue)."""
        if not self._begun:  # the parser would skip whatever follows line ends, as far as they are in one chunk
            chunk = chunk.lstrip(b"\r\n")
        if self._ended or not chunk:
            return
        self._begun, malformed = True, False
        try:
            self._parser.write(chunk)
        except FormParserError:
            malformed = True
        events, self._events = self._events, []
        yield from events  # also of a chunk that is malformed further on, so that its split makes no difference
        if malformed:
            raise RequestFault(HTTPStatus.BAD_REQUEST, "the body is not multipart with the boundary of Content-Type")

    def finish(self) -> Iterator[Event]:
        """Nothing, once the closing boundary has come."""
        if not self._ended:
            raise RequestFault(HTTPStatus.BAD_REQUEST, "the body ends before its closing boundary")
        yield from ()

    def _on_part_begin(self) -> None:
        self._headers, self._name, self._value = {}, b"", b""

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _on_end(self) -> None:
        self._ended = True
