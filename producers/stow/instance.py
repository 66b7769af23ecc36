"""One instance on its way to the log, and what became of it.

The response names instances by the UIDs that were sent, not by the pseudonyms that they have on the log.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from io import BytesIO

import structlog

from producers import part10
from producers.errors import BrokenObject, Refused, TooLarge
from producers.intake import Intake, ReceivedObject
from producers.kept_values import is_uid
from producers.part10 import Part10
from producers.refusal import TooMuchAtOnce, refusal
from producers.statuses import StoreStatus
from radiolog.log.errors import LogError
from radiolog.log.objects import ObjectStoreUnavailable
from radiolog.log.trace import TraceContext
from schemas.events import ImageSource

#: Enough for the file meta information of an instance of which no more is held.
HEAD_BYTES = 4096

log = structlog.get_logger()


class WrongStudy(BrokenObject):
    """The instance is not of the study that the request names."""


class IndexNotInstance(Refused):
    """A DICOMDIR: an index of files, not an object of its own."""


class UnsupportedPart(Refused):
    """A part of the body is no instance by its own headers."""


@dataclass(frozen=True, slots=True)
class SentUids:
    """What the client calls an instance."""

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The log has the instance."""

    uids: SentUids


@dataclass(frozen=True, slots=True)
class Failed:
    """The log does not have it, or is not known to.

    Attributes:
        uids: None where the instance does not say what it is.
        reason: Failure Reason (0008,1197).
        status: of the response, if all instances failed so.
        message: for a person; it holds no value of the object.
    """

    uids: SentUids | None
    reason: StoreStatus
    status: HTTPStatus
    message: str

    @classmethod
    def by(cls, error: Exception, uids: SentUids | None) -> "Failed":
        """The outcome of an instance that `error` stopped."""
        reason, message = failure_reason(error)
        return cls(uids, reason, _http_status(error), message)


Outcome = Stored | Failed


@dataclass(frozen=True, slots=True)
class Sender:
    """What all instances of a request have in common: their way in, the study in its URL, its place in a trace."""

    source: ImageSource
    study: str | None = None
    trace: TraceContext | None = None


def store(content: BytesIO, sender: Sender, intake: Intake) -> Outcome:
    """Put one instance on the log; blocks until the log has it, or does not. `content` becomes its data set."""
    uids, received_bytes = None, len(content.getbuffer())
    try:
        file = part10.parse_in_place(content)
        uids = _announced(file)
        if file.is_dicomdir:
            raise IndexNotInstance("a DICOMDIR is an index of other files: send those")
        received = ReceivedObject(
            file.dataset, file.transfer_syntax, sender.source, datetime.now(UTC), None, trace=sender.trace
        )
        with intake.open(received) as opened:
            names = opened.subject.original
            uids = SentUids(opened.sop_class, names.sop_instance)
            if sender.study not in {None, names.study}:
                raise WrongStudy("Study Instance UID (0020,000D) is not the one of the URL")
            intake.publish(opened)
    except Exception as error:
        return refused(error, uids, sender, received_bytes)
    return Stored(uids)


def refused(error: Exception, uids: SentUids | None, sender: Sender, received_bytes: int) -> Failed:
    """The outcome of an instance that `error` stopped, told to the log of this process too."""
    failed = Failed.by(error, uids)
    log.warning(
        "object refused",
        peer=sender.source.peer,
        status=f"0x{failed.reason:04X}",
        reason=failed.message,
        received_bytes=received_bytes,
    )
    return failed


def uids_in_head(head: bytes) -> SentUids | None:
    """What the first bytes of an instance say that it is."""
    try:
        return _announced(part10.parse(head))
    except Refused:
        return None


def failure_reason(error: Exception) -> tuple[StoreStatus, str]:
    """Failure Reason (PS3.18 section I.2.2), and words for a person; as C-STORE has them, where it has the failure."""
    match error:
        case WrongStudy():
            return StoreStatus.SOP_CLASS_MISMATCH, str(error)
        case IndexNotInstance():
            return StoreStatus.SOP_CLASS_NOT_SUPPORTED, str(error)
    return refusal(error)


def _http_status(error: Exception) -> HTTPStatus:
    match error:
        case TooLarge():
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case UnsupportedPart():
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        case Refused():
            return HTTPStatus.CONFLICT
        case TooMuchAtOnce() | ObjectStoreUnavailable() | LogError():
            return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _announced(file: Part10) -> SentUids | None:
    """What the file meta information says."""
    sop_class, sop_instance = file.sop_class or "", file.sop_instance or ""
    return SentUids(sop_class, sop_instance) if is_uid(sop_class) and is_uid(sop_instance) else None
