"""The one way onto the log for a DICOM object, whichever adapter it came through.

1. The header is parsed; the pixels are not looked at (`producers.dicom_object`).
2. The header is de-identified, unless the site keeps identities (`producers.deidentify`).
3. Where the site wants that, uncompressed pixels are written in less, without loss (`producers.transcoding`).
4. An object above the inline maximum goes to the object store, and comes back whole and durable or not at all.
5. What the pseudonyms stand for goes to `identities`, then the object, or where it is, to `images`, in one `publish`.
6. `accept` returns when the broker has acknowledged all of it: only then may an adapter acknowledge.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from pydicom import Dataset

from producers import dicom_object
from producers.burned_in import may_show_text
from producers.dates import acquired_at
from producers.deidentify import deidentify
from producers.dicom_object import DicomObject
from producers.errors import BrokenObject, Refused, TooLarge, WrongSopClass
from producers.kept_values import is_code
from producers.profile import METHOD
from producers.pseudonyms import Pseudonyms
from producers.refusal import TooMuchAtOnce
from producers.subject import Names, Subject, sop_class_of
from producers.transcoding import Transcoder
from producers.values import copied, text_of
from radiolog import __version__
from radiolog.log.errors import RecordTooLarge
from radiolog.log.objects import ObjectStore
from radiolog.log.publisher import Fact, Publisher
from radiolog.log.trace import TraceContext
from radiolog.settings import MIB, Settings
from schemas.events import Identity, ImageEvent, ImageSource, ObjectRef, image_event_id
from schemas.topics import IDENTITIES, IMAGES

#: What de-identification may take away (private elements, text) from an object that then fits into its event.
HEADER_ALLOWANCE_BYTES = 16 * MIB
REMEMBERED_IDENTITIES = 1 << 16
#: How long a heavy object waits for those before it; devices wait longer.
TURN_SECONDS = 20.0
NOT_DEIDENTIFIED = "NONE"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReceivedObject:
    """An object as it came in.

    Attributes:
        dataset: the data set's bytes, without preamble and file meta information.
        transfer_syntax: Transfer Syntax UID that the sender named.
        source: the way in.
        received_at: when the adapter held all of it.
        sop_class: SOP Class UID that the sender announced, if it did.
        trace: the sender's place in a trace, if it told one; the object's events go on in that trace.
    """

    dataset: bytes
    transfer_syntax: str
    source: ImageSource
    received_at: datetime
    sop_class: str | None = None
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object whose header has been read.

    Attributes:
        received: as it came in.
        parsed: its header and its pixels.
        original: the header again, to read from.
        sop_class: SOP Class UID in the header.
        subject: whose it is.
    """

    received: ReceivedObject
    parsed: DicomObject
    original: Dataset
    sop_class: str
    subject: Subject


@dataclass(frozen=True, slots=True)
class _Cleaned:
    """An object as it goes onto the log: `header` and `pieces` de-identified, if the site wants that."""

    header: Dataset
    sop_class: str
    names: Names
    identities: list[Identity]
    may_show_text: bool | None
    method: str
    transfer_syntax: str
    acquired_at: datetime | None
    pieces: tuple[bytes | memoryview, ...]
    size: int


@dataclass(frozen=True, slots=True)
class _Carried:
    """How an event carries its object: with it, or as a reference."""

    payload: bytes
    ref: ObjectRef | None = None


class Intake:
    """Publishes received objects; any number of threads may call `accept` at the same time."""

    def __init__(self, publisher: Publisher, pseudonyms: Pseudonyms | None, settings: Settings) -> None:
        """Takes `pseudonyms` of None for a site that keeps identities on its log.

        Raises:
            SettingsError: a setting of the object store is missing or wrong.
        """
        if pseudonyms is None:
            log.warning("identities stay on the log: objects are published as they came, and not de-identified")
        self._publisher = publisher
        self._pseudonyms = pseudonyms
        self._objects = ObjectStore.from_settings(settings)
        self._inline_max_bytes = settings.inline_max_bytes
        self._max_bytes = max(settings.inline_max_bytes, settings.object_max_bytes)
        self._acknowledged = _Acknowledged(REMEMBERED_IDENTITIES)
        self._one_heavy = threading.RLock()
        self._transcoder = Transcoder() if settings.transcode != "none" else None

    @property
    def max_received_bytes(self) -> int:
        """Size from which a received data set is refused unread."""
        return self._max_bytes + HEADER_ALLOWANCE_BYTES

    def accept(self, received: ReceivedObject) -> UUID:
        """Publish one object; returns its `event_id` once the log has it.

        Raises:
            Refused: sending the same bytes again will not help (`producers.errors`).
            TooMuchAtOnce: other heavy objects came before this one; it may be sent again.
            LogError: the log or the object store did not take it; the sender should keep its copy
                (`radiolog.log.errors`, `radiolog.log.objects`).
        """
        with self.open(received) as opened:
            return self.publish(opened)

    @contextmanager
    def open(self, received: ReceivedObject) -> Iterator[OpenedObject]:
        """Read the header, for an adapter that wants to know what it has before it goes onto the log.

        Objects that unfold to far more than was received are held open one after another: what they take is not part of
        any limit on received bytes.

        Raises:
            Refused: as `accept` does.
            TooMuchAtOnce: as `accept` does.
        """
        if len(received.dataset) > self.max_received_bytes:
            # An adapter may have stopped to hold it there, so its true size is not known here.
            raise TooLarge(f"more than the {self.max_received_bytes} bytes that are received at most")
        with ExitStack() as held_open:
            yield self._opened(received, lambda: self._take_turn(held_open))

    def _take_turn(self, held_open: ExitStack) -> None:
        """Waits for other heavy objects; a second time changes nothing."""
        if not self._one_heavy.acquire(timeout=TURN_SECONDS):
            raise TooMuchAtOnce
        held_open.callback(self._one_heavy.release)

    def _opened(self, received: ReceivedObject, on_heavy: Callable[[], None]) -> OpenedObject:
        with _header_at_fault():
            dataset, syntax = received.dataset, received.transfer_syntax
            parsed = dicom_object.split(dataset, syntax, self.max_received_bytes, on_heavy)
            original = copied(parsed.header)
            sop_class = sop_class_of(original)
            if received.sop_class is not None and received.sop_class != sop_class:
                raise WrongSopClass("SOP Class UID (0008,0016) is not the announced one")
            return OpenedObject(received, parsed, original, sop_class, Subject.of(original))

    def publish(self, opened: OpenedObject) -> UUID:
        """The rest of `accept`, while it is open; once, since the header is de-identified in place.

        Raises:
            Refused: as `accept` does.
            LogError: as `accept` does.
        """
        received = opened.received
        with _header_at_fault():
            cleaned = self._cleaned(opened)
        event = _image_event(received, cleaned, self._carried(cleaned))
        identities = self._acknowledged.unknown(cleaned.identities)
        trace = received.trace.child() if received.trace is not None else TraceContext.begin()
        try:
            self._publisher.publish(
                [*(Fact(IDENTITIES, identity, trace) for identity in identities), Fact(IMAGES, event, trace)]
            )
        except RecordTooLarge as error:
            raise TooLarge(str(error)) from None
        self._acknowledged.add(identities)
        log.info(
            "image published",
            event_id=str(event.event_id),
            trace_id=trace.trace_id,
            span_id=trace.span_id,
            source=received.source.kind,
            peer=received.source.peer,
            received_bytes=event.received_bytes,
            payload_bytes=cleaned.size,
            by_reference=event.payload_ref is not None,
            may_show_text=event.burned_in_annotation,
            deidentified=event.deidentification != NOT_DEIDENTIFIED,
        )
        return event.event_id

    def _carried(self, cleaned: _Cleaned) -> _Carried:
        if cleaned.size > self._inline_max_bytes:
            return _Carried(b"", self._objects.put(*cleaned.pieces))
        return _Carried(b"".join(cleaned.pieces))

    def _cleaned(self, opened: OpenedObject) -> _Cleaned:
        parsed, sop_class, subject = opened.parsed, opened.sop_class, opened.subject
        header, utc_offset = parsed.header, text_of(opened.original, "TimezoneOffsetFromUTC")
        shows_text = may_show_text(opened.original)
        names, identities = subject.original, list[Identity]()
        if self._pseudonyms is not None:
            names = subject.pseudonymous(self._pseudonyms)
            identities = subject.identities(names, datetime.now(UTC))
            deidentify(header, self._pseudonyms, names.patient)
            header.StudyInstanceUID, header.SeriesInstanceUID = names.study, names.series
            header.SOPInstanceUID = names.sop_instance
        pieces, syntax = self._written(header, parsed)
        size = sum(map(len, pieces))
        if size > self._max_bytes:
            raise TooLarge(f"{size} bytes exceed the log's limit of {self._max_bytes}")
        method = NOT_DEIDENTIFIED if self._pseudonyms is None else METHOD
        acquired = acquired_at(header, utc_offset)
        return _Cleaned(header, sop_class, names, identities, shows_text, method, syntax, acquired, pieces, size)

    def _written(self, header: Dataset, parsed: DicomObject) -> tuple[tuple[bytes | memoryview, ...], str]:
        """The pieces of the object's file, and the transfer syntax that they are in."""
        transcoded = self._transcoder.transcode(header, parsed) if self._transcoder is not None else None
        if transcoded is not None:
            return transcoded.pieces, str(transcoded.transfer_syntax)
        return dicom_object.pieces(header, parsed.pixels, parsed.transfer_syntax), str(parsed.transfer_syntax)


@contextmanager
def _header_at_fault() -> Iterator[None]:
    """What pydicom and the anonymizer make of a malformed header: they raise whatever it leads them to.

    Raises:
        BrokenObject: in place of it; its message names the kind alone, since theirs quote values.
    """
    try:
        yield
    except (Refused, TooMuchAtOnce, MemoryError):
        raise
    except Exception as error:
        raise BrokenObject(f"the header cannot be read or de-identified ({type(error).__name__})") from None


def _image_event(received: ReceivedObject, cleaned: _Cleaned, carried: _Carried) -> ImageEvent:
    header, names, digest = cleaned.header, cleaned.names, hashlib.sha256(received.dataset).digest()
    return ImageEvent(
        event_id=image_event_id(digest),
        code_version=__version__,
        patient_pseudonym=names.patient,
        study_uid=names.study,
        series_uid=names.series,
        sop_instance_uid=names.sop_instance,
        sop_class_uid=cleaned.sop_class,
        transfer_syntax_uid=cleaned.transfer_syntax,
        modality=_code(header, "Modality"),
        body_part=_code(header, "BodyPartExamined"),
        view_position=_code(header, "ViewPosition"),
        burned_in_annotation=cleaned.may_show_text,
        deidentification=cleaned.method,
        source=received.source,
        acquired_at=cleaned.acquired_at,
        received_at=received.received_at,
        published_at=datetime.now(UTC),
        received_bytes=len(received.dataset),
        received_sha256=digest,
        payload_ref=carried.ref,
        payload=carried.payload,
    )


def _code(header: Dataset, keyword: str) -> str | None:
    """A value of CS; None where it is missing or malformed."""
    text = text_of(header, keyword)
    return text if text and is_code(text) else None


class _Acknowledged:
    """The identities that the log is known to have, the oldest forgotten first: they need not be published again."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._ids: OrderedDict[UUID, None] = OrderedDict()
        self._lock = threading.Lock()

    def unknown(self, identities: Iterable[Identity]) -> list[Identity]:
        with self._lock:
            return [identity for identity in identities if identity.event_id not in self._ids]

    def add(self, identities: Iterable[Identity]) -> None:
        with self._lock:
            for identity in identities:
                self._ids[identity.event_id] = None
            while len(self._ids) > self._capacity:
                self._ids.popitem(last=False)
