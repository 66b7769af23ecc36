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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog
from confluent_kafka import Message, TopicPartition

from radiolog.health import Health
from radiolog.log.api import Clients, Consumer
from radiolog.log.batching import Batcher, BatchLimits, Place, next_offsets, place, still_assigned
from radiolog.log.clients import KafkaClients
from radiolog.log.lag import LagReader, PartitionLag
from radiolog.log.lag_meter import LagMeter
from radiolog.log.membership import Membership, Seat, keep
from radiolog.log.metrics import PROCESS, Metrics, StageMetrics
from radiolog.log.stage import Received, Reject
from radiolog.log.trace import TraceContext
from radiolog.log.transform import coordinates, dead_letter, decoded_by, received_at
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import DeadLetter, Event
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
    """One instance of a sink.

    Args:
        sink: The store.
        settings: Names and limits of the log.
        codec: Between records and events.
        ordinal: Unique among the sink's live instances, and the same after a restart.
        limits: When a batch is full.
        clients: How to reach the log; by default Kafka, where the settings say.
        metrics: Where it counts.
    """

    def __init__(
        self,
        sink: Sink,
        settings: Settings,
        codec: Codec,
        *,
        ordinal: int = 0,
        limits: BatchLimits | None = None,
        clients: Clients | None = None,
        metrics: Metrics = PROCESS,
    ) -> None:
        self._sink = sink
        self._settings = settings
        self._codec = codec
        self._topics = {topic.full_name(settings.topic_prefix): topic for topic in sink.topics}
        self._seat = Seat.of(sink.name, ordinal, settings.app)
        self._limits = limits or BatchLimits(events=500)
        self._clients = clients or KafkaClients(settings)
        self._metrics = StageMetrics(sink.name, metrics)

    def run(self, stop: threading.Event, health: Health) -> None:
        """Works until `stop` is set, then finishes the batch in hand.

        Raises:
            Fenced: another instance with the same ordinal is running.
            LogError: the log refuses this sink.
        """
        keep(lambda: self.join(stop, health), stop)

    def join(self, stop: threading.Event, health: Health) -> "SinkMember":
        """The instance in its group."""
        keeper = Keeper(self._sink, self._topics, self._codec, self._metrics)
        return SinkMember(keeper, self._clients, self._seat, self._limits, self._lags, stop, health, self._metrics)

    def _lags(self) -> list[PartitionLag]:
        """What waits for the sink, as new clients and its store see it; nothing if the store does not answer."""
        with LagReader(self._settings, self._clients) as reader, suppress(SinkUnavailable):
            return reader.of_sink(self._sink.topics, self._sink.positions)
        return []


class SinkMember:
    """A sink's instance while it is a member of its group: it knows where the store stands in each partition."""

    def __init__(
        self,
        keeper: "Keeper",
        clients: Clients,
        seat: Seat,
        limits: BatchLimits,
        lags: Callable[[], Sequence[PartitionLag]],
        stop: threading.Event,
        health: Health,
        metrics: StageMetrics,
    ) -> None:
        self._keeper = keeper
        self._consumer = clients.member(seat.group, seat.instance)
        self._stop = stop
        self._health = health
        self._metrics = metrics
        self._log = log.bind(instance=seat.instance)
        self._lag = LagMeter(self._consumer, metrics)
        self.membership = Membership(seat, clients, self._consumer, keeper.topics[0], lags, health)
        self._batcher = Batcher(self._consumer, keeper.topics, limits, self._assigned)

    def round(self) -> None:
        """Stores the next batch, or goes back to where the store stands; nothing if no record comes for a moment.

        Raises:
            LogError: the log refuses this sink.
        """
        self._health.beat()
        self._lag.measure()
        if not (batch := self._batcher.take()):
            self.membership.look()
            return
        self._lag.took(batch)
        try:
            with self._metrics.batch(batch):
                self._keeper.keep(batch)
            self._lag.settled(next_offsets(batch))
            self.membership.proven()
            self._health.ready()
            return
        except (SinkUnavailable, RegistryUnavailable) as error:
            self._metrics.repeated(error)
            self._log.warning("batch will be repeated", cause=type(error).__name__)
            self._health.unready(f"the last batch was not stored ({type(error).__name__})")
            self._stop.wait(getattr(error, "retry_after", 1.0))
        except PositionMoved as error:
            self._metrics.repeated(error)
            self._log.warning("another instance was here: going on from the stored positions")
        offsets = next_offsets(batch)
        if self._know(offsets):
            for partition in still_assigned(self._consumer, offsets):
                self._consumer.seek(self._keeper.start(partition))

    def close(self) -> None:
        """Lets go of the log."""
        self._consumer.close()

    def _assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Takes the partitions on from the store's positions."""
        self.membership.assigned()
        known = self._know(partitions)
        self._consumer.incremental_assign([self._keeper.start(partition) for partition in partitions])
        if known:
            self._health.ready()
        else:
            self._consumer.pause(partitions)  # the stop came first: nothing of them is read

    def _know(self, partitions: list[TopicPartition]) -> bool:
        """Asks the store where it stands, for as long as it takes; False if `stop` is set before it answers."""
        while not self._stop.is_set():
            try:
                self._keeper.know([place(partition) for partition in partitions])
                self._lag.settled([self._keeper.start(partition) for partition in partitions])
                return True
            except SinkUnavailable as error:
                self._log.warning("the store does not answer", retry_after=error.retry_after)
                self._health.unready("the store does not answer")
                self._stop.wait(error.retry_after)
        return False


class Keeper:
    """Stores batches of records in one sink, and remembers where it stands."""

    def __init__(self, sink: Sink, topics: Mapping[str, Topic[Event]], codec: Codec, metrics: StageMetrics) -> None:
        self._sink = sink
        self._metrics = metrics
        self._topics = topics
        self._codec = codec
        self._positions: dict[Place, int] = {}
        self._log = log.bind(stage=sink.name)

    @property
    def topics(self) -> list[str]:
        """The names of the topics that it keeps."""
        return list(self._topics)

    def know(self, places: Sequence[Place]) -> None:
        """Reads the store's positions; raises `SinkUnavailable`."""
        self._positions |= self._sink.positions(places)

    def start(self, partition: TopicPartition) -> TopicPartition:
        """Where to read on."""
        return TopicPartition(*place(partition), self._positions.get(place(partition), 0))

    def keep(self, batch: Sequence[Message]) -> None:
        """Stores what the batch holds, one by one where the store refuses a part of it.

        Raises:
            SinkUnavailable: the rest of the batch is not stored.
            RegistryUnavailable: nothing is.
            PositionMoved: another instance stores these partitions.
        """
        with self._metrics.processing.time():
            items = [decoded_by(self._codec, self._topics[str(message.topic())], message) for message in batch]
        try:
            self._store(batch, [self._event(message, item) for message, item in zip(batch, items, strict=True)])
        except Unstorable as error:
            if len(batch) > 1:
                for message in batch:
                    self.keep([message])
                return
            self._store_letter(batch, items[0], Reject("unstorable", str(error)))

    def _event(self, message: Message, item: Received[Event] | Reject) -> Event:
        if isinstance(item, Received):
            return item.event
        return dead_letter(self._sink.name, coordinates(message), None, item)

    def _store_letter(self, batch: Sequence[Message], item: Received[Event] | Reject, reject: Reject) -> None:
        """Stores a dead letter in the place of the one event; of its coordinates alone if the rest can't be stored."""
        event, at = item.event if isinstance(item, Received) else None, coordinates(batch[0])
        try:
            self._store(batch, [dead_letter(self._sink.name, at, event, reject)])
        except Unstorable:
            self._store(batch, [dead_letter(self._sink.name, at, None, reject)])

    def _store(self, batch: Sequence[Message], events: Sequence[Event]) -> None:
        """Stores events in the name of the batch's records."""
        advances = {place(tp): Advance(self._positions[place(tp)], tp.offset) for tp in next_offsets(batch)}
        try:
            with self._metrics.transaction.time():
                self._sink.store(events, advances)
        except Exception:
            self._metrics.ended("aborted")
            raise
        self._metrics.ended("committed")
        self._positions |= {where: advance.next for where, advance in advances.items()}
        for message, event in zip(batch, events, strict=True):
            self._tell_stored(message, event)

    def _tell_stored(self, message: Message, event: Event) -> None:
        span = TraceContext.of(message.headers())
        fields = {"event_id": str(event.event_id), "trace_id": span.trace_id if span else None}
        if isinstance(event, DeadLetter) and event.stage == self._sink.name:
            self._metrics.settled(0, event.error_class, None)
            self._log.warning("rejected", error_class=event.error_class, reason=event.reason, **fields)
        else:
            self._metrics.settled(1, None, received_at(event))
            self._log.info("stored", **fields)
