"""Batches of raw messages, capped by count, by bytes and by time, and never of a partition that was taken away."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException, Message, TopicPartition

from radiolog.log.api import Consumer
from radiolog.log.errors import LogUnavailable, kafka_error, translated

IDLE_SECONDS = 0.25

Place = tuple[str, int]
"""A topic and one of its partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """When a batch is full: events, bytes of their values, and seconds since its first event.

    A transaction costs some milliseconds, whatever it holds, so that large batches are cheaper (docs/figures.md has by
    how much). They make themselves: what comes while one batch is worked on is the next. So nothing is waited for by
    default, and the one event that comes to an idle stage is worked on at once.
    """

    events: int = 256
    bytes: int = 64 << 20
    seconds: float = 0.0


class Batcher:
    """Takes batches from a subscribed consumer.

    A rebalance can happen in any poll: half-way through a batch, or while one is worked on (`attendant`). Messages
    whose partition is revoked or lost then leave the batch: their new owner reads them from the committed offset, and
    the group's generation alone would not stop this member from committing them too. If the partition comes back, so
    do they.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: list[str],
        limits: BatchLimits,
        on_assigned: Callable[[Consumer, list[TopicPartition]], None],
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._consumer = consumer
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._hand: list[Message] = []
        self._bytes = 0
        self._gone: set[Place] = set()
        consumer.subscribe(topics, on_assign=on_assigned, on_revoke=self._taken, on_lost=self._taken)

    def take(self) -> list[Message]:
        """The next batch; empty if nothing came within a quarter of a second."""
        self._hand, self._bytes = [], 0
        self._add(self._consumer.poll(self._idle_seconds))
        deadline = time.monotonic() + self._limits.seconds
        while self._hand and not self._full():
            if not self._add(self._consumer.poll(max(0.0, deadline - time.monotonic()))):
                break
        batch, self._hand, self._gone = self._hand, [], set()
        return batch

    def has(self, message: Message) -> bool:
        """Whether a message of the batch that was taken last is this member's still."""
        return place_of(message) not in self._gone

    def _add(self, message: Message | None) -> bool:
        if message is None:
            return False
        if (error := message.error()) is not None:
            known = translated(error)
            if isinstance(known, LogUnavailable):
                return False  # librdkafka goes on by itself
            raise known
        self._hand.append(message)
        self._bytes += len(message.value() or b"")
        return True

    def _full(self) -> bool:
        return len(self._hand) >= self._limits.events or self._bytes >= self._limits.bytes

    def _taken(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {place(partition) for partition in partitions}
        self._gone |= gone
        self._hand = [message for message in self._hand if place_of(message) not in gone]


def place(partition: TopicPartition) -> Place:
    """The topic and partition, without the offset."""
    return partition.topic, partition.partition


def place_of(message: Message) -> Place:
    """Where the message comes from, without the offset."""
    return str(message.topic()), int(message.partition() or 0)


def still_assigned(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Those of `partitions` that the consumer has: others can't be sought on."""
    assigned = {place(partition) for partition in consumer.assignment()}
    return [partition for partition in partitions if place(partition) in assigned]


def next_offsets(batch: Sequence[Message]) -> list[TopicPartition]:
    """The offsets to go on from after this batch: last processed + 1 of each partition."""
    last: dict[Place, int] = {}
    for message in batch:
        where = place_of(message)
        last[where] = max(last.get(where, -1), int(message.offset() or 0))
    return [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in sorted(last.items())]


def rewind(consumer: Consumer, partitions: list[TopicPartition], seconds: float = 30.0) -> None:
    """Goes back to the offsets that the group has committed, on those `partitions` that are still assigned.

    Raises:
        LogError: the committed offsets can't be read.
    """
    mine = [TopicPartition(*place(partition)) for partition in still_assigned(consumer, partitions)]
    if not mine:
        return
    try:
        for committed in consumer.committed(mine, seconds):
            consumer.seek(committed if committed.offset >= 0 else _beginning(consumer, committed, seconds))
    except KafkaException as exception:
        raise translated(kafka_error(exception)) from exception


def _beginning(consumer: Consumer, partition: TopicPartition, seconds: float) -> TopicPartition:
    low, _ = consumer.get_watermark_offsets(TopicPartition(*place(partition)), seconds)
    return TopicPartition(*place(partition), low)
