"""The twin of `confluent_kafka.Consumer`.

The group's offsets are read as a reader of committed records reads them: not before the open transactions that carry
them have ended (KIP-447). A partition that was taken on meanwhile delivers nothing.
"""

import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import OFFSET_END, OFFSET_INVALID, KafkaError, Message, TopicPartition

from radiolog.log.api import Rebalanced
from radiolog.log.memory.broker import Broker
from radiolog.log.memory.failures import failure
from radiolog.log.memory.group import Group, GroupMetadata, Membership, Place

STORED = OFFSET_INVALID
"""The position of a partition that goes on at the group's offset, as soon as that is known."""


class MemoryConsumer:
    """Reads committed records, alone or as a static member of a group.

    With `counts_open`, its watermarks are those of a reader of all records.
    """

    def __init__(
        self, broker: Broker, group: Group, instance: str, *, reports_end: bool = False, counts_open: bool = False
    ) -> None:
        self._broker = broker
        self._group = group
        self._reports_end = reports_end
        self._counts_open = counts_open
        self._me = Membership(instance, frozenset())
        self._on_assign: Rebalanced | None = None
        self._on_revoke: Rebalanced | None = None
        self._on_lost: Rebalanced | None = None
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._ended: dict[Place, int] = {}
        self._served: Place = ("", -1)

    def subscribe(
        self,
        topics: list[str],
        on_assign: Rebalanced | None = None,
        on_revoke: Rebalanced | None = None,
        on_lost: Rebalanced | None = None,
    ) -> None:
        """Joins the group at the next poll."""
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        for topic in topics:
            self._broker.topic(topic)
        self._me = Membership(self._me.instance, frozenset(topics))

    def poll(self, timeout: float = -1) -> Message | None:
        """Serves a rebalance, or delivers a record."""
        self._broker.interfere("poll")
        deadline = time.monotonic() + min(max(timeout, 0), self._broker.patience)
        while True:
            if self._me.topics:
                if self._group.is_fenced(self._me):
                    return Message(error=KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", True))
                self._rebalance()
            with self._broker.changed:
                if (message := self._next()) is not None:  # a message without a value is falsy
                    return message
                if (message := self._end()) is not None:
                    return message
                left = deadline - time.monotonic()
                if left <= 0 or not self._broker.changed.wait(left):
                    return None

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Reads these partitions from their offsets on."""
        self._positions = {}
        self.incremental_assign(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Takes partitions on, at their offsets."""
        with self._broker.changed:
            for partition in partitions:
                place = _place(partition)
                self._positions[place] = partition.offset if partition.offset >= 0 else STORED
                self._ended.pop(place, None)

    def assignment(self) -> list[TopicPartition]:
        """The partitions that it reads now."""
        return _partitions(self._positions)

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Delivers nothing of these partitions until `resume`, even if they go to another member and come back."""
        self._paused |= self._known(partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Ends `pause`; also of a partition that is not assigned now."""
        self._paused -= set(map(_place, partitions))

    def seek(self, partition: TopicPartition) -> None:
        """Goes on at the partition's offset."""
        for place in self._known([partition]):
            self._positions[place] = partition.offset
            self._ended.pop(place, None)

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The offset after the last record delivered of each partition."""
        return [TopicPartition(*place, self._positions[place]) for place in map(_place, partitions)]

    def committed(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """The group's committed offsets; a negative one where there is none."""
        self._broker.interfere("committed")
        places = list(map(_place, partitions))
        with self._broker.changed:
            if not all(map(self._group.is_stable, places)):
                raise failure(KafkaError._TIMED_OUT, "a transaction that carries offsets is open", retriable=True)
            return [TopicPartition(*place, self._group.offsets.get(place, OFFSET_INVALID)) for place in places]

    def memberid(self) -> str:
        """The id that the group gave this member; empty while it has none."""
        return self._me.member if self._me.generation else ""

    def consumer_group_metadata(self) -> GroupMetadata:
        """Who this member is at this moment."""
        return GroupMetadata(self._group.name, self._me.instance, self._me.member, self._me.generation)

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, cached: bool = False
    ) -> tuple[int, int]:
        """The oldest offset that is not deleted, and the last stable one, or with `counts_open` the last of all."""
        watched = self._broker.partition(_place(partition))
        return watched.oldest, len(watched.entries) if self._counts_open else watched.last_stable_offset

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """The first record at or after the time, in ms, that stands for each offset; -1 where there is none."""
        found = [self._broker.partition(_place(asked)).first_since(asked.offset) for asked in partitions]
        return [
            TopicPartition(*_place(asked), OFFSET_END if offset is None else offset)
            for asked, offset in zip(partitions, found, strict=True)
        ]

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata, of what `radiolog.log.replay` looks at."""
        self._broker.interfere("list_topics")
        if topic is None or (topic, 0) not in self._broker.places():
            error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"no topic {topic}")
            found = SimpleNamespace(error=error, partitions={})
        else:
            found = SimpleNamespace(error=None, partitions=dict.fromkeys(range(len(self._broker.topic(topic)))))
        return SimpleNamespace(cluster_id=self._broker.cluster_id, topics={topic: found})

    def close(self) -> None:
        """A static member only stops reading: its partitions wait for its session to time out (`MemoryLog.evict`)."""
        self._positions = {}
        self._me.owned = set()

    def _rebalance(self) -> None:
        """Gives up what the group wants back, then takes what has become free, as its callbacks say."""
        with self._broker.changed:
            lost = not self._group.has(self._me)
            gone = sorted(self._me.owned if lost else self._me.owned - self._me.target)
        if gone:
            _tell(self._on_lost if lost else self._on_revoke, self, gone)
        with self._broker.changed:
            self._forget(gone)
            if lost:
                self._me = self._group.join(self._me.instance, self._me.topics, self._broker.places())
            gained = sorted(self._group.free(self._me))
            is_news = self._me.generation == 0 or bool(gained)
            self._me.owned |= set(gained)
            self._group.serve(self._me)
            if gone:
                self._broker.changed.notify_all()
        if is_news:
            _tell(self._on_assign, self, gained)
            self.incremental_assign([TopicPartition(*place) for place in gained if place not in self._positions])

    def _forget(self, gone: Iterable[Place]) -> None:
        for place in gone:
            self._me.owned.discard(place)
            self._positions.pop(place, None)

    def _readable(self) -> list[Place]:
        """The partitions that are not paused, and whose position is known; each gets its turn."""
        for place, position in self._positions.items():
            if position == STORED and self._group.is_stable(place):
                self._positions[place] = self._group.offsets.get(place, 0)
        known = [place for place, at in self._positions.items() if at != STORED and place not in self._paused]
        return sorted(known, key=lambda place: (place <= self._served, place))

    def _next(self) -> Message | None:
        for place in self._readable():
            offset = self._broker.partition(place).next_visible(self._positions[place])
            if offset is not None:
                self._positions[place] = offset + 1
                self._served = place
                entry = self._broker.partition(place).entries[offset]
                return Message(
                    topic=place[0],
                    partition=place[1],
                    offset=offset,
                    key=entry.key,
                    value=entry.value,
                    headers=entry.headers,
                )
        return None

    def _end(self) -> Message | None:
        """The news that a partition has no more, once for each end."""
        if not self._reports_end:
            return None
        for place in self._readable():
            end = self._broker.partition(place).last_stable_offset
            if self._ended.get(place) != end:
                self._ended[place] = end
                error = KafkaError(KafkaError._PARTITION_EOF, "no more")
                return Message(topic=place[0], partition=place[1], offset=end, error=error)
        return None

    def _known(self, partitions: list[TopicPartition]) -> set[Place]:
        places = set(map(_place, partitions))
        if unknown := places - set(self._positions):
            raise failure(KafkaError._STATE, f"not assigned: {sorted(unknown)}")
        return places


def _tell(callback: Rebalanced | None, consumer: MemoryConsumer, places: Iterable[Place]) -> None:
    if callback is not None:
        callback(consumer, _partitions(places))


def _place(partition: TopicPartition) -> Place:
    return partition.topic, partition.partition


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]
