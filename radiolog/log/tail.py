"""Reads a whole topic and then what comes, again and again up to an end that is true at the moment of asking.

A publisher's acknowledgement is about one moment, and so is `Tail.end`: whatever was acknowledged before it was asked
lies before it. Records behind an open transaction count, too; readers see them once that transaction has ended, which
`Tail.read` waits for.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from radiolog.log.api import Clients
from radiolog.log.clients import KafkaClients
from radiolog.log.errors import LogUnavailable, kafka_error, translated
from radiolog.log.stage import Received
from radiolog.log.transform import decoded_by
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event
from schemas.topics import Topic

E = TypeVar("E", bound=Event)

ANSWER_SECONDS = 5.0
#: The log may be silent for so long while a transaction is open: longer than any may take.
SILENCE_SECONDS = 90.0
POLL_SECONDS = 0.2
BATCH_EVENTS = 500
BATCH_BYTES = 16 << 20
"""With the payloads: a batch is held in memory."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a topic ends at some moment, open transactions included.

    Attributes:
        cluster: id of the Kafka cluster.
        oldest: by partition, the offset of the oldest record that retention has left.
        next: by partition, the offset that the next record will have.
    """

    cluster: str
    oldest: Mapping[int, int]
    next: Mapping[int, int]


@dataclass(slots=True)
class Batch(Generic[E]):
    """Events in the order of each partition, and the offsets from which to go on after them."""

    events: list[Received[E]] = field(default_factory=list)
    next: dict[int, int] = field(default_factory=dict)


class Tail(Generic[E]):
    """A reader of one topic; it commits nothing, and who uses it keeps the offsets.

    Records that are no event of the topic are passed over: they are the stages' affair.

    Args:
        settings: Names of the log.
        topic: What to read.
        codec: Between records and events.
        clients: How to reach the log; by default Kafka, where the settings say.

    Raises:
        LogRefused: a setting for Kafka is wrong.
    """

    def __init__(self, settings: Settings, topic: Topic[E], codec: Codec, clients: Clients | None = None) -> None:
        clients = clients or KafkaClients(settings)
        self._topic = topic
        self._codec = codec
        self.name = topic.full_name(settings.topic_prefix)
        self._reader = clients.reader()
        self._observer = clients.observer()

    def close(self) -> None:
        """Lets go of the log."""
        self._reader.close()
        self._observer.close()

    def end(self) -> End:
        """Where the topic ends now.

        Raises:
            LogError: the broker can't be reached, or has no such topic.
        """
        try:
            metadata = self._observer.list_topics(self.name, ANSWER_SECONDS)
            found = metadata.topics[self.name]
            if found.error is not None:
                raise translated(found.error)
            marks = {
                number: self._observer.get_watermark_offsets(TopicPartition(self.name, number), ANSWER_SECONDS)
                for number in found.partitions
            }
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception
        oldest, ends = ({number: mark[side] for number, mark in marks.items()} for side in (0, 1))
        return End(str(metadata.cluster_id), oldest, ends)

    def read(self, start: Mapping[int, int], end: Mapping[int, int], stop: threading.Event) -> Iterator[Batch[E]]:
        """What is committed from `start` up to `end` at least, in batches; it ends early if `stop` is set.

        Raises:
            LogError: the broker can't be reached.
        """
        waiting = {number for number, offset in end.items() if start[number] < offset}
        self._reader.assign([TopicPartition(self.name, number, start[number]) for number in sorted(waiting)])
        try:
            while waiting and not stop.is_set():
                batch = self._batch(waiting, end, stop)
                if batch.next:
                    yield batch
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception
        finally:
            self._reader.assign([])

    def _batch(self, waiting: set[int], end: Mapping[int, int], stop: threading.Event) -> Batch[E]:
        """The next of them; takes those partitions off `waiting` that have been read to their end."""
        batch, size = Batch[E](), 0
        patience = time.monotonic() + SILENCE_SECONDS
        while waiting and len(batch.events) < BATCH_EVENTS and size < BATCH_BYTES and not stop.is_set():
            message = self._reader.poll(POLL_SECONDS)
            if message is None:
                if batch.next:
                    break
                if time.monotonic() > patience:
                    raise LogUnavailable(f"nothing came from the log for {SILENCE_SECONDS:.0f} s")
                continue
            size += self._take(message, batch)
            waiting -= {number for number, offset in batch.next.items() if offset >= end[number]}
        return batch

    def _take(self, message: Message, batch: Batch[E]) -> int:
        """Puts a record, or the news of a partition's end, into the batch; gives the record's size."""
        number, offset = int(message.partition() or 0), int(message.offset() or 0)
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                batch.next[number] = offset
            elif not isinstance(known := translated(error), LogUnavailable):
                raise known
            return 0
        batch.next[number] = offset + 1
        item = decoded_by(self._codec, self._topic, message)
        if isinstance(item, Received):
            batch.events.append(item)
        return len(message.value() or b"")


def resumed(stored: Mapping[int, int], end: End) -> dict[int, int]:
    """The offsets from which to go on: those that were kept, or the oldest of a partition that is new or was cut."""
    return {number: max(oldest, stored.get(number, 0)) for number, oldest in end.oldest.items()}


def overtaken(stored: Mapping[int, int], end: End) -> bool:
    """Whether a kept offset lies behind the topic's end: this is another topic than it was."""
    return any(offset > end.next.get(number, 0) for number, offset in stored.items())


def behind(stored: Mapping[int, int], end: End) -> int:
    """How many offsets lie between those that were kept and the end."""
    start = resumed(stored, end)
    return sum(max(0, offset - start[number]) for number, offset in end.next.items())
