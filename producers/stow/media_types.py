"""What a request says that it carries, and what it wants back (PS3.18 sections 8.7.5 and 10.5.1)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from python_multipart.multipart import parse_options_header

from producers.stow.faults import RequestFault

DICOM: Final = "application/dicom"
MULTIPART: Final = "multipart/related"
#: RFC 2046 section 5.1.1 allows 70; some clients write a little more.
BOUNDARY_CHARACTERS: Final = 200
_NOT_ENCODED: Final = frozenset({"", "identity"})


class ReportType(StrEnum):
    """How a Store Instances Response Module may be written."""

    JSON = "application/dicom+json"
    XML = "application/dicom+xml"


_ACCEPTED: Final = {
    "application/dicom+json": ReportType.JSON,
    "application/json": ReportType.JSON,
    "application/*": ReportType.JSON,
    "*/*": ReportType.JSON,
    "application/dicom+xml": ReportType.XML,
    "application/xml": ReportType.XML,
    "text/xml": ReportType.XML,
}


@dataclass(frozen=True, slots=True)
class Payload:
    """A body: one instance, or with a `boundary` any number of them."""

    boundary: bytes | None


def payload(content_type: str, content_encoding: str) -> Payload:
    """What the body is by Content-Type and Content-Encoding.

    Raises:
        RequestFault: 415, it is not what this service takes; or 400, it is, but lacks its boundary.
    """
    if content_encoding.strip().lower() not in _NOT_ENCODED:
        raise _unsupported("the body is compressed: send it without Content-Encoding")
    kind, parameters = parsed(content_type)
    if kind == DICOM:
        return Payload(None)
    if kind != MULTIPART:
        raise _unsupported(f'send {MULTIPART}; type="{DICOM}", or one instance as {DICOM}')
    inner = parameters.get("type", "").lower()
    if inner not in {DICOM, ""}:
        raise _unsupported(f'of {MULTIPART} only type="{DICOM}" is taken, not metadata apart from bulk data')
    boundary = parameters.get("boundary", "")
    if not 0 < len(boundary) <= BOUNDARY_CHARACTERS or not boundary.isascii() or not boundary.isprintable():
        raise RequestFault(HTTPStatus.BAD_REQUEST, "Content-Type lacks a boundary, or its boundary is none")
    return Payload(boundary.encode("ascii"))


def report_type(accept: Iterable[str]) -> ReportType:
    """The form of the report that the client would rather have, of what its Accept headers allow.

    Raises:
        RequestFault: 406, it takes neither.
    """
    ranges = [one for header in accept for one in header.split(",") if one.strip()]
    if not ranges:
        return ReportType.JSON
    wanted = [(_quality(parameters), _ACCEPTED[kind]) for kind, parameters in map(parsed, ranges) if kind in _ACCEPTED]
    quality, best = max(wanted, key=lambda one: one[0], default=(0.0, ReportType.JSON))
    if quality <= 0:
        raise RequestFault(
            HTTPStatus.NOT_ACCEPTABLE, f"the answer comes as {ReportType.JSON} or {ReportType.XML}: accept one of them"
        )
    return best


def parsed(header: str) -> tuple[str, dict[str, str]]:
    """A media type in lower case, and its parameters."""
    kind, parameters = parse_options_header(header)
    return kind.decode("latin-1").strip(), {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in parameters.items()
    }


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0


def _unsupported(message: str) -> RequestFault:
    return RequestFault(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
