"""Runs a stage exactly once per record: consume, transform and produce in Kafka transactions (KIP-447).

The order of one round, which is what the guarantee rests on:

1. Take a batch of committed records.
2. Decode it and let the stage turn each event into an `Emit` or a `Reject`.
3. In one transaction: produce what was emitted and the dead letters, and send the batch's offsets.
4. If that did not settle, go back to the offsets that the group has committed and start again at 1.

Nothing is open between rounds, so a rebalance, which only ever happens in 1, finds nothing to finish.
"""

import threading
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import structlog
from confluent_kafka import Message

from radiolog import __version__
from radiolog.health import Health
from radiolog.log import clients
from radiolog.log.batching import Batcher, BatchLimits, next_offsets, rewind
from radiolog.log.publisher import Fact
from radiolog.log.stage import Coordinates, Emit, Outcome, Received, Reject, Stage, StageUnavailable
from radiolog.log.transactions import OutgoingRecord, Transactions, Unsettled
from radiolog.settings import Settings
from schemas.codec import Codec, CodecError
from schemas.events import DeadLetter, Event, derived_id
from schemas.registry import RegistryUnavailable
from schemas.topics import DEAD_LETTERS

E = TypeVar("E", bound=Event)

log = structlog.get_logger()


class StageRunner(Generic[E]):
    """One instance of a stage.

    Args:
        stage: What to do with each batch.
        settings: How to reach the log.
        codec: Between records and events.
        ordinal: Which of the stage's live instances this is; unique among them and the same after a restart, since
            the transactional id and the group membership are made of it.
        limits: When a batch is full.
    """

    def __init__(
        self,
        stage: Stage[E],
        settings: Settings,
        codec: Codec,
        *,
        ordinal: int = 0,
        limits: BatchLimits | None = None,
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._codec = codec
        self._group = f"{settings.app}-{stage.name}"
        self._id = f"{self._group}-{ordinal}"
        self._limits = limits or BatchLimits()
        self._log = log.bind(stage=stage.name, ordinal=ordinal)

    def run(self, stop: threading.Event, health: Health) -> None:
        """Works until `stop` is set, then finishes the batch in hand and closes.

        Its partitions wait for it for the session timeout, since it is a static member: a restart finds them again.

        Raises:
            Fenced: another instance with the same ordinal is running.
            LogError: the log can't be reached at the start, or refuses this stage.
        """
        transactions = Transactions(lambda: clients.transactional_producer(self._settings, self._id))
        consumer = clients.member(self._settings, self._group, self._id)
        source = self._stage.source.full_name(self._settings.topic_prefix)
        failures = 0
        try:
            batcher = Batcher(consumer, [source], self._limits, lambda *_: health.ready())
            while not stop.is_set():
                batch = batcher.take()
                if not batch:
                    continue
                offsets = next_offsets(batch)
                try:
                    records = list(self._records(batch))
                    transactions.run(records, offsets, consumer.consumer_group_metadata())
                    failures = 0
                except (Unsettled, StageUnavailable, RegistryUnavailable) as error:
                    failures += 1
                    self._log.warning("batch will be repeated", cause=type(error).__name__, failures=failures)
                    stop.wait(_pause(error, failures))
                    rewind(consumer, offsets)
        finally:
            consumer.close()
            transactions.close()

    def _records(self, batch: Sequence[Message]) -> Iterator[OutgoingRecord]:
        decoded = [self._decoded(message) for message in batch]
        outcomes = iter(self._processed([item for item in decoded if isinstance(item, Received)]))
        for message, item in zip(batch, decoded, strict=True):
            outcome = next(outcomes) if isinstance(item, Received) else item
            event = item.event if isinstance(item, Received) else None
            yield from self._outgoing(coordinates(message), event, outcome)

    def _decoded(self, message: Message) -> Received[E] | Reject:
        try:
            event = self._codec.decode(self._stage.source, message.value())
        except CodecError as error:
            return Reject(error.error_class, str(error))
        return Received(event, coordinates(message))

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
            self._log.error("the stage raised", kind=kind, place=_place(error), events=len(events))
            if len(events) == 1:
                return (Reject("stage_failed", f"the stage raised {kind}; its log has the details"),)
            return [outcome for event in events for outcome in self._processed([event])]
        if len(outcomes) != len(events):
            raise RuntimeError(f"{self._stage.name} gave {len(outcomes)} outcomes for {len(events)} events")
        return outcomes

    def _outgoing(self, at: Coordinates, event: E | None, outcome: Outcome) -> Iterator[OutgoingRecord]:
        if isinstance(outcome, Emit):
            records = [self._encoded(fact) for fact in outcome.facts]
            largest = max((len(record.value) for record in records), default=0)
            if largest <= (limit := clients.max_record_bytes(self._settings)):
                yield from records
                return
            outcome = Reject("output_too_large", f"a derived record has {largest} bytes, the log takes {limit}")
        self._log.warning(
            "rejected",
            event_id=str(event.event_id) if event else None,
            error_class=outcome.error_class,
            reason=outcome.reason,
        )
        yield self._encoded(Fact(DEAD_LETTERS, dead_letter(self._stage.name, at, event, outcome)))

    def _encoded(self, fact: Fact) -> OutgoingRecord:
        topic = fact.topic.full_name(self._settings.topic_prefix)
        return OutgoingRecord(topic, fact.event.key, self._codec.encode(fact.topic, fact.event))


def coordinates(message: Message) -> Coordinates:
    """Where on the log the message stands."""
    return Coordinates(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))


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


def _pause(error: Exception, failures: int) -> float:
    if isinstance(error, StageUnavailable):
        return error.retry_after
    return float(min(5.0, 0.05 * 2 ** min(failures, 10)))
