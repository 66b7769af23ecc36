"""Bounded reads: a slice of a topic between pinned offsets, from its start to its very end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from radiolog.log.api import Clients, Consumer
from radiolog.log.clients import KafkaClients
from radiolog.log.errors import LogUnavailable, kafka_error, translated
from radiolog.log.stage import Coordinates, Received
from radiolog.log.transform import coordinates, decoded_by
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event
from schemas.topics import Topic

E = TypeVar("E", bound=Event)

LIST_SECONDS = 10.0
SECONDS = 30.0


class RecordGone(Exception):
    """There is no readable record at these coordinates any more."""


@dataclass(frozen=True, slots=True)
class Slice(Generic[E]):
    """Records of one topic from `start` up to, not including, `end`: offsets by partition."""

    topic: Topic[E]
    start: Mapping[int, int]
    end: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record in a slice that is no event of the topic; counted, never skipped in silence."""

    at: Coordinates
    error_class: str


def pin(
    settings: Settings,
    topic: Topic[E],
    clients: Clients | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Slice[E]:
    """The topic as it stands now, from its oldest record to its newest.

    Args:
        settings: of the site.
        topic: which one.
        clients: how to reach the log.
        since: from the first record written then or later on.
        until: up to, not including, the first record written then or later. With a time that has passed, the slice is
            the same however far the log has grown.

    Raises:
        LogError: the broker can't be reached, or has no such topic.
    """
    name = topic.full_name(settings.topic_prefix)
    consumer = (clients or KafkaClients(settings)).reader()
    try:
        metadata = consumer.list_topics(name, timeout=LIST_SECONDS).topics[name]
        if metadata.error is not None:
            raise translated(metadata.error)
        marks = {p: consumer.get_watermark_offsets(TopicPartition(name, p), SECONDS) for p in metadata.partitions}
        start = {p: low for p, (low, _) in marks.items()} | _first_since(consumer, name, marks, since)
        end = {p: high for p, (_, high) in marks.items()} | _first_since(consumer, name, marks, until)
    except KafkaException as exception:
        raise translated(kafka_error(exception)) from exception
    finally:
        consumer.close()
    return Slice(topic, start, end)


def _first_since(
    consumer: Consumer, name: str, marks: Mapping[int, tuple[int, int]], instant: datetime | None
) -> dict[int, int]:
    """The offset of the first record written at `instant` or later, by partition; its end where there is none."""
    if instant is None:
        return {}
    asked = [TopicPartition(name, partition, int(instant.timestamp() * 1000)) for partition in marks]
    found = consumer.offsets_for_times(asked, SECONDS) if asked else []
    return {
        each.partition: min(max(each.offset, marks[each.partition][0]), marks[each.partition][1])
        if each.offset >= 0
        else marks[each.partition][1]
        for each in found
    }


def read(
    settings: Settings, codec: Codec, wanted: Slice[E], clients: Clients | None = None
) -> Iterator[Received[E] | Unreadable]:
    """Every committed record of the slice, in order within each partition; it never waits for later ones.

    A partition is finished when the consumer has got to its pinned end, whether by a record at or behind it or by
    the end of the partition: transaction markers take offsets too, so the last record's offset says nothing.

    Raises:
        LogError: the broker can't be reached.
    """
    name = wanted.topic.full_name(settings.topic_prefix)
    open_partitions = {p for p, end in wanted.end.items() if wanted.start[p] < end}
    consumer = (clients or KafkaClients(settings)).reader()
    try:
        consumer.assign([TopicPartition(name, p, wanted.start[p]) for p in sorted(open_partitions)])
        while open_partitions:
            message = _polled(consumer)
            partition, offset = int(message.partition() or 0), int(message.offset() or 0)
            at_end = message.error() is not None or offset >= wanted.end[partition]
            if partition in open_partitions and not at_end:
                yield _decoded(codec, wanted.topic, message)
            if at_end or offset + 1 >= wanted.end[partition]:
                open_partitions.discard(partition)
    finally:
        consumer.close()


def fetch(
    settings: Settings, codec: Codec, topic: Topic[E], partition: int, offset: int, clients: Clients | None = None
) -> Received[E]:
    """The one event at these coordinates.

    Raises:
        RecordGone: there is none any more, or it can't be read.
        LogError: the broker can't be reached.
    """
    at = Coordinates(topic.full_name(settings.topic_prefix), partition, offset)
    found = _decoded(codec, topic, record_at(settings, at, clients))
    if not isinstance(found, Received):
        raise RecordGone(f"{at} holds no readable event")
    return found


def record_at(settings: Settings, at: Coordinates, clients: Clients | None = None) -> Message:
    """The one committed record at these coordinates, as it is.

    Raises:
        RecordGone: there is none any more.
        LogError: the broker can't be reached.
    """
    consumer = (clients or KafkaClients(settings)).reader()
    try:
        found = consumer.list_topics(at.topic, timeout=LIST_SECONDS).topics[at.topic]
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise translated(found.error)
        if at.partition not in found.partitions:
            raise RecordGone(f"{at}: there is no such partition")
        consumer.assign([TopicPartition(at.topic, at.partition, at.offset)])
        message = _polled(consumer)
    except KafkaException as exception:
        raise translated(kafka_error(exception)) from exception
    finally:
        consumer.close()
    if message.error() is not None or message.offset() != at.offset:
        raise RecordGone(f"{at} is not on the log any more")
    return message


def _polled(consumer: Consumer) -> Message:
    """The next record, or the news that a partition has no more."""
    while True:
        message = consumer.poll(SECONDS)
        if message is None:
            raise LogUnavailable(f"nothing came from the broker for {SECONDS:.0f} s")
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return message
        known = translated(error)
        if not isinstance(known, LogUnavailable):
            raise known


def _decoded(codec: Codec, topic: Topic[E], message: Message) -> Received[E] | Unreadable:
    item = decoded_by(codec, topic, message)
    return item if isinstance(item, Received) else Unreadable(coordinates(message), item.error_class)
