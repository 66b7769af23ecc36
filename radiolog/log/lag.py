"""How far behind each reader of the log is, as anyone sees it from outside: between where it stands and the end.

A stage stands where its group has committed, a sink where its store says. The end is that of committed records.
Transaction markers take offsets too, and no reader is told of them: where only a few offsets are left, they are looked
at, and hold no record if a reader of them comes to the end without one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import KafkaException, TopicPartition

from radiolog.log.api import Clients, Consumer
from radiolog.log.batching import Place, place_of
from radiolog.log.clients import KafkaClients
from radiolog.log.errors import LogUnavailable, kafka_error, translated
from radiolog.log.lag_meter import MARKERS
from radiolog.settings import Settings
from schemas.events import Event
from schemas.topics import Topic

SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One partition and one of its readers.

    Attributes:
        topic: its full name.
        partition: its number.
        next: the offset that the reader goes on from; None if it has not begun.
        end: the offset after the last committed record.
        waiting: records between the two; beyond a few, the markers among them are counted with them.
    """

    topic: str
    partition: int
    next: int | None
    end: int
    waiting: int


class LagReader:
    """Looks at the log, as often as it is asked; use it as a context.

    Every method raises `LogUnavailable` if the broker does not answer, and `LogError` if it lacks a topic.
    """

    def __init__(self, settings: Settings, clients: Clients | None = None) -> None:
        self._settings = settings
        self._clients = clients or KafkaClients(settings)
        self._reader = self._clients.reader()
        self._groups: dict[str, Consumer] = {}

    def __enter__(self) -> "LagReader":
        return self

    def __exit__(self, *exception: object) -> None:
        for consumer in (self._reader, *self._groups.values()):
            consumer.close()

    def of_stage(self, name: str, topic: Topic[Event]) -> list[PartitionLag]:
        """The lag of a stage, by partition."""
        try:
            marks = self._marks([topic])
            wanted = [TopicPartition(*where) for where in marks]
            stands = {(c.topic, c.partition): c.offset for c in self._group(name).committed(wanted, SECONDS)}
            return self._lags(marks, {where: offset for where, offset in stands.items() if offset >= 0})
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception

    def of_sink(
        self, topics: Sequence[Topic[Event]], positions: Callable[[Sequence[Place]], Mapping[Place, int]]
    ) -> list[PartitionLag]:
        """The lag of a sink, by partition, from the positions that its store keeps of them."""
        try:
            marks = self._marks(topics)
            return self._lags(marks, positions(list(marks)))
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception

    def _group(self, name: str) -> Consumer:
        """A client that asks in the group's name; it never joins it."""
        if name not in self._groups:
            self._groups[name] = self._clients.member(f"{self._settings.app}-{name}", "lag")
        return self._groups[name]

    def _marks(self, topics: Sequence[Topic[Event]]) -> dict[Place, tuple[int, int]]:
        """The oldest offset of each partition, and its end."""
        marks = {}
        for name in (topic.full_name(self._settings.topic_prefix) for topic in topics):
            metadata = self._reader.list_topics(name, SECONDS).topics[name]
            if metadata.error is not None:
                raise translated(metadata.error)
            for number in sorted(metadata.partitions):
                marks[name, number] = self._reader.get_watermark_offsets(TopicPartition(name, number), SECONDS)
        return marks

    def _lags(self, marks: Mapping[Place, tuple[int, int]], stands: Mapping[Place, int]) -> list[PartitionLag]:
        lags = {
            where: PartitionLag(*where, stands.get(where), end, max(0, end - max(low, stands.get(where, low))))
            for where, (low, end) in marks.items()
        }
        few = {where: lag.end - lag.waiting for where, lag in lags.items() if 0 < lag.waiting <= MARKERS}
        empty = self._without_records(few, {where: marks[where][1] for where in few})
        return [replace(lag, waiting=0) if where in empty else lag for where, lag in lags.items()]

    def _without_records(self, starts: Mapping[Place, int], ends: Mapping[Place, int]) -> set[Place]:
        """Those partitions that hold no committed record between start and end; unknown ones are not among them."""
        empty: set[Place] = set()
        unknown, deadline = set(starts), time.monotonic() + SECONDS
        self._reader.assign([TopicPartition(*where, offset) for where, offset in starts.items()])
        while unknown and time.monotonic() < deadline:
            if (message := self._reader.poll(0.1)) is None:
                continue
            where, error = place_of(message), message.error()
            if error is not None and message.topic() is None:
                if not isinstance(known := translated(error), LogUnavailable):
                    raise known
            elif where in unknown:
                unknown.discard(where)
                if error is not None or int(message.offset() or 0) >= ends[where]:
                    empty.add(where)
        self._reader.assign([])
        return empty
