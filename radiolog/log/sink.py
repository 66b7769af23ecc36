"""Copies topics to a store exactly once: the store keeps the rows and the next offsets, in one step.

The contract between the runner and a `Sink`:

1. On assignment the runner asks the sink for its positions and reads on from there; Kafka's group offsets are not used.
2. `store` keeps the batch's rows and moves each position from `expected` to `next`, all or nothing.
3. A position that is not where it was expected was moved by another instance: `store` keeps nothing and raises
   `PositionMoved`, which is what stops a paused instance that comes back to life. The runner asks again, as in 1.
4. `SinkUnavailable` means that nothing was kept; the runner repeats the batch after `retry_after` seconds.
5. `Unstorable` means that the store refuses the rows for good and kept nothing; the runner tries the batch one by
   one, and stores a `DeadLetter` in the place of the event at fault.
6. A record that is no event of its topic is handed over as a `DeadLetter` too. A poison event never stops a partition.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from confluent_kafka import Consumer, Message, TopicPartition

from radiolog.health import Health
from radiolog.log import clients
from radiolog.log.batching import Batcher, BatchLimits, Place, next_offsets, place, still_assigned
from radiolog.log.runtime import coordinates, dead_letter
from radiolog.log.stage import Reject
from radiolog.settings import Settings
from schemas.codec import Codec, CodecError
from schemas.events import Event
from schemas.registry import RegistryUnavailable
from schemas.topics import Topic

log = structlog.get_logger()


class SinkUnavailable(Exception):
    """The store does not answer for now; nothing of the batch was kept."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PositionMoved(Exception):
    """Another instance stored records of the same partition; nothing of the batch was kept."""


class Unstorable(Exception):
    """The store refuses these rows for good; nothing of the batch was kept. The message holds none of their content."""


@dataclass(frozen=True, slots=True)
class Advance:
    """Where a partition's position must stand, and where it goes."""

    expected: int
    next: int


class Sink(Protocol):
    """A store; see the contract at the top of this module."""

    name: str

    @property
    def topics(self) -> Sequence[Topic[Event]]:
        """The topics that it keeps."""

    def positions(self, partitions: Sequence[Place]) -> Mapping[Place, int]:
        """The next offset of each partition, 0 for one that is new to the store."""

    def store(self, events: Sequence[Event], advances: Mapping[Place, Advance]) -> None:
        """Keeps the rows of `events` and the positions, all or nothing."""


class SinkRunner:
    """One instance of a sink; `ordinal` is unique among the live ones and the same after a restart."""

    def __init__(
        self, sink: Sink, settings: Settings, codec: Codec, *, ordinal: int = 0, limits: BatchLimits | None = None
    ) -> None:
        self._sink = sink
        self._settings = settings
        self._codec = codec
        self._ordinal = ordinal
        self._limits = limits or BatchLimits(events=500)
        self._topics = {topic.full_name(settings.topic_prefix): topic for topic in sink.topics}
        self._positions: dict[Place, int] = {}
        self._stop = threading.Event()
        self._log = log.bind(stage=sink.name, ordinal=ordinal)

    def run(self, stop: threading.Event, health: Health) -> None:
        """Works until `stop` is set, then finishes the batch in hand.

        Raises:
            LogError: the log refuses this sink.
        """
        self._stop = stop
        group = f"{self._settings.app}-{self._sink.name}"
        consumer = clients.member(self._settings, group, f"{group}-{self._ordinal}")

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            self._assign(consumer, partitions)
            health.ready()

        try:
            batcher = Batcher(consumer, list(self._topics), self._limits, assigned)
            while not stop.is_set():
                if batch := batcher.take():
                    self._settle(consumer, batch)
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Takes the partitions on from the store's positions, waiting for the store as long as it takes."""
        self._read_positions(partitions)
        if self._stop.is_set():
            return  # the positions may not be known, and nothing will be read any more
        consumer.incremental_assign([self._start(partition) for partition in partitions])

    def _settle(self, consumer: Consumer, batch: list[Message]) -> None:
        """Stores the batch, or goes back to where the store stands."""
        try:
            self._store(batch)
            return
        except (SinkUnavailable, RegistryUnavailable) as error:
            self._log.warning("batch will be repeated", cause=type(error).__name__)
            self._stop.wait(getattr(error, "retry_after", 1.0))
        except PositionMoved:
            self._log.warning("another instance was here: going on from the stored positions")
        offsets = next_offsets(batch)
        self._read_positions(offsets)
        for partition in still_assigned(consumer, offsets):
            consumer.seek(self._start(partition))

    def _store(self, batch: list[Message]) -> None:
        try:
            self._keep(batch, [self._decoded(message) for message in batch])
        except Unstorable as error:
            if len(batch) > 1:
                for message in batch:
                    self._store([message])
                return
            self._keep_letter(batch, Reject("unstorable", str(error)))

    def _keep_letter(self, batch: list[Message], reject: Reject) -> None:
        """Stores a dead letter in the place of the one event; of its coordinates alone if the rest can't be stored."""
        event, at = self._decoded(batch[0]), coordinates(batch[0])
        self._log.warning("rejected", event_id=str(event.event_id), reason=reject.reason)
        try:
            self._keep(batch, [dead_letter(self._sink.name, at, event, reject)])
        except Unstorable:
            self._keep(batch, [dead_letter(self._sink.name, at, None, reject)])

    def _keep(self, batch: list[Message], events: list[Event]) -> None:
        """Stores events in the name of the batch's records."""
        offsets = next_offsets(batch)
        advances = {place(tp): Advance(self._positions[place(tp)], tp.offset) for tp in offsets}
        self._sink.store(events, advances)
        self._positions |= {where: advance.next for where, advance in advances.items()}

    def _decoded(self, message: Message) -> Event:
        try:
            return self._codec.decode(self._topics[str(message.topic())], message.value())
        except CodecError as error:
            reject = Reject(error.error_class, str(error))
            return dead_letter(self._sink.name, coordinates(message), None, reject)

    def _read_positions(self, partitions: list[TopicPartition]) -> None:
        while not self._stop.is_set():
            try:
                self._positions |= self._sink.positions([place(partition) for partition in partitions])
                return
            except SinkUnavailable as error:
                self._log.warning("the store does not answer", retry_after=error.retry_after)
                self._stop.wait(error.retry_after)

    def _start(self, partition: TopicPartition) -> TopicPartition:
        return TopicPartition(*place(partition), self._positions.get(place(partition), 0))
