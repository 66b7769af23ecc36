"""Kafka transactions whose outcome is always known (KIP-98, KIP-447).

How an error is met:

1. `fatal()`: the producer is of no use any more. `Fenced` if another instance took its id, else `LogRefused`.
2. `txn_requires_abort()`: the transaction is aborted.
3. anything else, and an abort that fails: the producer is destroyed and built again with the same id. Its
   `init_transactions` finishes or aborts what the old one left, which is the known way to settle a commit or abort
   that timed out (librdkafka has no KIP-890).

After 2 and 3 `Unsettled` is raised: the caller goes back to the offsets that the group has committed, and these say
whether the transaction counted.

A call that outlives its own timeout, as librdkafka's `send_offsets_to_transaction` can after a broker's crash, can't be
interrupted: then the process ends at once, and the next one with the same id settles what it left.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from radiolog.log.errors import Fenced, LogRefused, kafka_error, translated

INIT_SECONDS = 30.0
COMMIT_SECONDS = 30.0
ABORT_SECONDS = 10.0
LONGEST_SECONDS = 100.0
HUNG_EXIT_CODE = 70

log = structlog.get_logger()


class Unsettled(Exception):
    """The transaction was aborted, or settled by its successor: go back to the committed offsets."""


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record ready for the wire."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Transactions:
    """Runs one transaction after the other on a producer of its own."""

    def __init__(self, build: Callable[[], Producer]) -> None:
        self._build = build
        self._renew()

    def run(self, records: Sequence[OutgoingRecord], offsets: Sequence[TopicPartition] = (), group: Any = None) -> None:
        """Puts `records` on the log and the group's `offsets`, if any, with them, both or neither.

        Raises:
            Unsettled: it did not go through; the group's committed offsets say where to go on.
            Fenced: another instance with the same id took over.
            LogRefused: the producer met an error that no retry mends.
        """
        try:
            with _ends_within(LONGEST_SECONDS):
                self._producer.begin_transaction()
                for record in records:
                    self._produce(record)
                if offsets:
                    self._producer.send_offsets_to_transaction(list(offsets), group, COMMIT_SECONDS)
                self._producer.commit_transaction(COMMIT_SECONDS)
        except KafkaException as exception:
            error = kafka_error(exception)
            log.warning("transaction failed", error=error.name(), fatal=error.fatal())
            self._settle(error)
            raise Unsettled(error.name()) from exception

    def close(self) -> None:
        """Lets go of the broker."""
        self._producer.flush(ABORT_SECONDS)

    def _produce(self, record: OutgoingRecord) -> None:
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
                return
            except BufferError:  # the local queue is full: wait until the broker took some of it
                self._producer.poll(0.1)

    def _settle(self, error: KafkaError) -> None:
        if error.fatal():
            self._raise_fatal(error)
        if error.txn_requires_abort() and self._aborted():
            return
        self._renew()

    def _aborted(self) -> bool:
        try:
            self._producer.abort_transaction(ABORT_SECONDS)
        except KafkaException as exception:
            error = kafka_error(exception)
            if error.fatal():
                self._raise_fatal(error)
            return False
        return True

    def _renew(self) -> None:
        self._producer = self._build()  # the old one, if any, is destroyed here, before its successor speaks
        try:
            self._producer.init_transactions(INIT_SECONDS)
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception

    @staticmethod
    def _raise_fatal(error: KafkaError) -> None:
        known = translated(error)
        raise known if isinstance(known, Fenced) else LogRefused(str(known))


@contextmanager
def _ends_within(seconds: float) -> Iterator[None]:
    """Ends the whole process if the block takes longer."""

    def end() -> None:
        log.error("a transaction call does not come back: ending the process", seconds=seconds)
        os._exit(HUNG_EXIT_CODE)

    watchdog = threading.Timer(seconds, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
