"""A batch of records to the records that follow from it: decode, let the stage work, encode; no log is touched."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from confluent_kafka import Message

from radiolog import __version__
from radiolog.log.batching import place_of
from radiolog.log.clients import max_record_bytes
from radiolog.log.publisher import Fact
from radiolog.log.stage import Coordinates, Emit, Outcome, Received, Reject, Stage, StageUnavailable
from radiolog.log.trace import TraceContext
from radiolog.log.transactions import OutgoingRecord
from radiolog.settings import Settings
from schemas.codec import Codec, CodecError
from schemas.events import DeadLetter, Event, derived_id
from schemas.topics import DEAD_LETTERS, Topic

E = TypeVar("E", bound=Event)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Done:
    """What came of one record.

    Attributes:
        message: the record.
        event_id: of its event; None if it could not be read.
        records: what follows from it, ready for the wire.
        rejected: why, if it was.
        parent: the place in the trace that the record bears.
        span: the place in the trace that `records` bear.
        received_at: when an adapter received the image that it goes back to; None if that can't be told.
    """

    message: Message
    event_id: str | None
    records: tuple[OutgoingRecord, ...]
    rejected: Reject | None
    parent: TraceContext | None
    span: TraceContext
    received_at: datetime | None = None

    @property
    def log_fields(self) -> dict[str, str | None]:
        """What a log says of it: no patient data."""
        fields = {"event_id": self.event_id, "trace_id": self.span.trace_id, "span_id": self.span.span_id}
        if self.parent is not None:
            fields["parent_span_id"] = self.parent.span_id
        if self.rejected is not None:
            fields |= {"error_class": self.rejected.error_class, "reason": self.rejected.reason}
        return fields


class Transform(Generic[E]):
    """Applies a stage to batches of records."""

    def __init__(self, stage: Stage[E], settings: Settings, codec: Codec) -> None:
        self._stage = stage
        self._settings = settings
        self._codec = codec

    def __call__(self, batch: Sequence[Message]) -> list[Done]:
        """What came of each record, in order.

        Raises:
            StageUnavailable: the stage lacks something for now.
            RegistryUnavailable: a schema can't be had for now.
        """
        decoded = [decoded_by(self._codec, self._stage.source, message) for message in batch]
        outcomes = iter(self._processed([item for item in decoded if isinstance(item, Received)]))
        return [
            self._done(message, item, next(outcomes) if isinstance(item, Received) else item)
            for message, item in zip(batch, decoded, strict=True)
        ]

    def _processed(self, events: Sequence[Received[E]]) -> Sequence[Outcome]:
        """The stage's outcomes; a batch that makes it raise is tried one by one, to find the event that does."""
        if not events:
            return ()
        try:
            outcomes = self._stage.process(events)
        except StageUnavailable:
            raise
        except Exception as error:
            kind = type(error).__name__
            # The message and the values of an exception may hold patient data; its kind and place do not.
            log.error("the stage raised", stage=self._stage.name, kind=kind, place=_place(error), events=len(events))
            if len(events) == 1:
                return (Reject("stage_failed", f"the stage raised {kind}; its log has the details"),)
            return [outcome for event in events for outcome in self._processed([event])]
        if len(outcomes) != len(events):
            raise RuntimeError(f"{self._stage.name} gave {len(outcomes)} outcomes for {len(events)} events")
        return outcomes

    def _done(self, message: Message, item: Received[E] | Reject, outcome: Outcome) -> Done:
        event = item.event if isinstance(item, Received) else None
        parent = TraceContext.of(message.headers())
        span = parent.child() if parent is not None else TraceContext.begin()
        event_id = str(event.event_id) if event else None
        since = received_at(event)
        if isinstance(outcome, Emit):
            records = tuple(self._encoded(fact, span) for fact in outcome.facts)
            largest = max((len(record.value or b"") for record in records), default=0)
            if largest <= (limit := max_record_bytes(self._settings)):
                return Done(message, event_id, records, None, parent, span, since)
            outcome = Reject("output_too_large", f"a derived record has {largest} bytes, the log takes {limit}")
        letter = Fact(DEAD_LETTERS, dead_letter(self._stage.name, coordinates(message), event, outcome))
        return Done(message, event_id, (self._encoded(letter, span),), outcome, parent, span, since)

    def _encoded(self, fact: Fact, span: TraceContext) -> OutgoingRecord:
        topic = fact.topic.full_name(self._settings.topic_prefix)
        return OutgoingRecord(topic, fact.event.key, self._codec.encode(fact.topic, fact.event), span.headers)


def decoded_by(codec: Codec, topic: Topic[E], message: Message) -> Received[E] | Reject:
    """The record's event, or why it is none of the topic's."""
    try:
        event = codec.decode(topic, message.value())
    except CodecError as error:
        return Reject(error.error_class, str(error))
    return Received(event, coordinates(message), TraceContext.of(message.headers()))


def coordinates(message: Message) -> Coordinates:
    """Where on the log the message stands."""
    return Coordinates(*place_of(message), int(message.offset() or 0))


def received_at(event: Event | None) -> datetime | None:
    """When an adapter received the image that the event goes back to; None if it does not say."""
    return getattr(event, "received_at", None)


def dead_letter(stage: str, at: Coordinates, event: Event | None, reject: Reject) -> DeadLetter:
    """The letter that points at a rejected event; `event` is None if it could not be read.

    An event that comes again, as a device resends it, makes a letter with the same id.
    """
    place = (str(event.event_id),) if event else (at.topic, str(at.partition), str(at.offset))
    return DeadLetter(
        event_id=derived_id("dead-letter", stage, *place),
        code_version=__version__,
        stage=stage,
        error_class=reject.error_class,
        reason=reject.reason,
        topic=at.topic,
        partition=at.partition,
        offset=at.offset,
        source_event_id=event.event_id if event else None,
        image_event_id=event.origin if event else None,
        study_uid=getattr(event, "study_uid", None),
        failed_at=datetime.now(UTC),
    )


def _place(error: Exception) -> str:
    """Where an exception was raised: file and line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
