"""Kafka transactions whose outcome is always known (KIP-98, KIP-447).

How an error of a call is met (`remedy`):

1. STOP, `fatal()` or nothing that waiting mends: the producer is of no use any more. `Fenced` if another instance took
   its id, else `LogRefused`.
2. ABORT, `txn_requires_abort()`: the transaction is aborted.
3. RETRY, `retriable()`, and not for want of an answer: the same call again, for as long as the call may take.
4. REBUILD, no answer in time, or an abort that fails: whether the call counted is not known. The producer is destroyed
   and built again with the same id. Its `init_transactions` finishes or aborts what the old one left, which is the
   known way to settle a commit or abort that timed out (librdkafka has no KIP-890).

After 2 and 4 `Unsettled` is raised: the caller goes back to the offsets that the group has committed, and these say
whether the transaction counted. Nothing else tells.

A call that outlives its own timeout can't be interrupted: then the process ends at once, and the next one with the same
id settles what it left. librdkafka's `send_offsets_to_transaction` does so as a rule when the coordinator's broker went
away before the call: it never comes back, or fails for want of a connection and then hangs when it is called again.
Hence its short time, and no second try without a connection.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from radiolog.log.alarm import Alarm, Over
from radiolog.log.api import Producer
from radiolog.log.errors import DeliveryUnknown, Fenced, LogRefused, LogUnavailable, kafka_error, translated
from radiolog.log.presence import LOST_SECONDS
from radiolog.log.trace import Header

INIT_SECONDS = 10.0
OFFSETS_SECONDS = 10.0
COMMIT_SECONDS = 30.0
ABORT_SECONDS = 10.0
RETRY_PAUSE_SECONDS = 0.05
PRODUCE_SECONDS = 60.0
GRACE_SECONDS = 3.0
HUNG_EXIT_CODE = 70

log = structlog.get_logger()


class Unsettled(Exception):
    """The transaction was aborted, or settled by its successor: go back to the committed offsets."""


class Remedy(Enum):
    """What to do about an error; the module's text says when which."""

    STOP = auto()
    ABORT = auto()
    RETRY = auto()
    REBUILD = auto()


def remedy(error: KafkaError) -> Remedy:
    """How to go on after an error of a transactional call."""
    if error.fatal():
        return Remedy.STOP
    if error.txn_requires_abort():
        return Remedy.ABORT
    known = translated(error)
    if isinstance(known, DeliveryUnknown) or error.code() in NO_ANSWER:
        return Remedy.REBUILD
    if error.retriable():
        return Remedy.RETRY
    return Remedy.REBUILD if isinstance(known, LogUnavailable) else Remedy.STOP


NO_ANSWER = frozenset(
    {
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._STATE,
        KafkaError._CONFLICT,
    }
)
"""The call may have counted, or an earlier one is still under way in the client."""


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record ready for the wire."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


class Transactions:
    """Runs one transaction after the other on a producer of its own.

    Args:
        build: Makes a producer with the instance's transactional id.
        stop: Ends the wait for a log that does not answer.
        on_obstacle: Told what is waited for.
        on_end: Told how each transaction ended: `committed`, `aborted`, or `rebuilt` where a successor settled it.

    Raises:
        LogUnavailable: `stop` was set while the log did not answer.
        LogError: the log refuses this producer.
    """

    def __init__(
        self,
        build: Callable[[], Producer],
        stop: threading.Event | None = None,
        on_obstacle: Callable[[str], None] = lambda obstacle: None,
        on_end: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._build = build
        self._stop = stop or threading.Event()
        self._on_obstacle = on_obstacle
        self._on_end = on_end
        self._watchdog = Alarm("transaction-watchdog", _end_process, tick=min(1.0, GRACE_SECONDS / 4))
        self._renew()

    def run(self, records: Sequence[OutgoingRecord], offsets: Sequence[TopicPartition] = (), group: Any = None) -> None:
        """Puts `records` on the log and the group's `offsets`, if any, with them, both or neither.

        Raises:
            Unsettled: it did not go through; the group's committed offsets say where to go on.
            Fenced: another instance with the same id took over.
            LogRefused: the producer met an error that no retry mends.
            LogUnavailable: as above.
        """
        producer = self._producer
        try:
            producer.begin_transaction()
            with self._watchdog.after(PRODUCE_SECONDS):
                for record in records:
                    self._produce(record)
            if offsets:
                self._persist(
                    lambda left: producer.send_offsets_to_transaction(list(offsets), group, left), OFFSETS_SECONDS
                )
            self._persist(producer.commit_transaction, COMMIT_SECONDS)
            self._on_end("committed")
        except KafkaException as exception:
            error = kafka_error(exception)
            log.warning("transaction failed", error=error.name(), remedy=remedy(error).name)
            self._settle(error)
            raise Unsettled(error.name()) from exception

    def close(self) -> None:
        """Lets go of the broker."""
        self._watchdog.close()
        with suppress(KafkaException):  # a producer that is of no use any more says so again: its owner knows
            self._producer.flush(ABORT_SECONDS)

    def _produce(self, record: OutgoingRecord) -> None:
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, headers=list(record.headers))
                return
            except BufferError:  # the local queue is full: wait until the broker took some of it
                self._producer.poll(0.1)

    def _persist(self, call: Callable[[float], None], seconds: float) -> None:
        """Makes the call, again while the client asks for that, for as long as it may take."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self._watchdog.after(seconds + GRACE_SECONDS):
                    call(max(RETRY_PAUSE_SECONDS, deadline - time.monotonic()))
                return
            except KafkaException as exception:
                if remedy(kafka_error(exception)) is not Remedy.RETRY or time.monotonic() > deadline:
                    raise
            self._stop.wait(RETRY_PAUSE_SECONDS)

    def _settle(self, error: KafkaError) -> None:
        match remedy(error):
            case Remedy.STOP:
                self._raise_fatal(error)
            case Remedy.ABORT if self._aborted():
                self._on_end("aborted")
                return
        self._on_end("rebuilt")
        self._renew()

    def _aborted(self) -> bool:
        try:
            self._persist(self._producer.abort_transaction, ABORT_SECONDS)
        except KafkaException as exception:
            error = kafka_error(exception)
            if remedy(error) is Remedy.STOP:
                self._raise_fatal(error)
            return False
        return True

    def _renew(self) -> None:
        """A producer that has settled what its predecessor left; waits for the log as long as that takes."""
        self._producer = self._build()  # the old one, if any, is destroyed here, before its successor speaks
        began = time.monotonic()
        while True:
            try:
                self._producer.init_transactions(INIT_SECONDS)
                return
            except KafkaException as exception:
                known = translated(kafka_error(exception))
                if not isinstance(known, LogUnavailable) or self._stop.is_set():
                    raise known from exception
                log.warning("the log does not answer", cause=kafka_error(exception).name())
                self._on_obstacle("the log does not answer")
            if time.monotonic() - began > LOST_SECONDS:  # the client itself may be at fault
                self._producer, began = self._build(), time.monotonic()
            self._stop.wait(RETRY_PAUSE_SECONDS)

    @staticmethod
    def _raise_fatal(error: KafkaError) -> None:
        known = translated(error)
        raise known if isinstance(known, Fenced) else LogRefused(str(known))


def _end_process(_: Over) -> None:
    log.error("a transaction call does not come back: ending the process")
    os._exit(HUNG_EXIT_CODE)
