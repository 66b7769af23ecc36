"""What radiolog uses of a Kafka client library: the one seam between the log's code and a log.

confluent-kafka's `Consumer` and `Producer` fit these protocols as they are, and so do their twins in
`radiolog.log.memory`, which keep the same contract in this process. Names and behaviour are librdkafka's.
"""

from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, TopicPartition

Rebalanced = Callable[[Any, list[TopicPartition]], None]
Delivered = Callable[[KafkaError | None, Message], None]
Headers = list[tuple[str, str | bytes | None]]


class Consumer(Protocol):
    """Reads records, alone (`assign`) or as a member of a group (`subscribe`)."""

    def subscribe(
        self,
        topics: list[str],
        on_assign: Rebalanced | None = None,
        on_revoke: Rebalanced | None = None,
        on_lost: Rebalanced | None = None,
    ) -> None:
        """Joins the group; the callbacks are called from `poll`."""

    def poll(self, timeout: float = -1) -> Message | None:
        """The next record or event; None if none comes within `timeout` seconds."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Reads these partitions from their offsets on, outside of any group."""

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Takes newly assigned partitions on, at their offsets; for a callback of `subscribe`."""

    def assignment(self) -> list[TopicPartition]:
        """The partitions that it reads now."""

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Delivers nothing of these partitions until `resume`."""

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Ends `pause`."""

    def seek(self, partition: TopicPartition) -> None:
        """Goes on at the partition's offset."""

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """The offset after the last record delivered of each partition."""

    def committed(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """The group's committed offsets; a negative one where there is none."""

    def consumer_group_metadata(self) -> Any:
        """Who this member is at this moment, for `Producer.send_offsets_to_transaction`."""

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, cached: bool = False
    ) -> tuple[int, int]:
        """The oldest offset, and the one after the last that a reader of committed records gets to."""

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """The first record at or after the time, in ms, that stands for each offset; -1 where there is none."""

    def memberid(self) -> str | None:
        """The id that the group gave this member; empty or None while it has none."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata of topics."""

    def close(self) -> None:
        """Leaves."""


class Producer(Protocol):
    """Writes records, one by one or in transactions."""

    def produce(
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        *,
        on_delivery: Delivered | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Queues a record; `on_delivery` is called from `poll` or `flush`."""

    def poll(self, timeout: float = -1) -> int:
        """Serves delivery reports."""

    def flush(self, timeout: float = -1) -> int:
        """Waits until all is delivered; the number of records that are not."""

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """Metadata of topics."""

    def init_transactions(self, timeout: float = -1) -> None:
        """Takes the transactional id over from whoever had it, and finishes what was left open."""

    def begin_transaction(self) -> None:
        """Begins."""

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Makes the group's offsets part of the transaction."""

    def commit_transaction(self, timeout: float = -1) -> None:
        """All of it counts."""

    def abort_transaction(self, timeout: float = -1) -> None:
        """None of it counts."""


class Clients(Protocol):
    """Makes the clients of one log: `radiolog.log.clients.KafkaClients`, or `radiolog.log.memory.MemoryLog`."""

    def member(self, group: str, instance: str) -> Consumer:
        """A consumer that shares topics with its group, as the static member `instance` (KIP-345)."""

    def reader(self) -> Consumer:
        """A consumer that reads what it is assigned and commits nothing; it reports the end of each partition."""

    def holder(self, group: str, instance: str) -> str:
        """The member id of the static member that bears this name in the group now; empty if none does.

        Raises:
            LogError: the group's coordinator does not tell.
        """

    def observer(self) -> Consumer:
        """A consumer for questions alone: its watermarks count what open transactions hold, too."""

    def producer(self, on_error: Callable[[KafkaError], None]) -> Producer:
        """A producer for adapters; `on_error` hears of errors that belong to no record."""

    def transactional_producer(self, transactional_id: str) -> Producer:
        """A producer for a stage; `init_transactions` has not been called yet."""
