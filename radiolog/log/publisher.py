"""Puts events on the log and comes back only when the broker has them.

The contract that adapters build their acknowledgements on:

1. `publish` returns: every record is on the log, replicated as the topic demands (`acks=all`), in the order given.
2. It raises `RecordTooLarge` or `LogRefused`: the records are refused; sending them again will not help.
3. It raises `LogUnavailable`: some records may be on the log. Send all of them again; ids are deterministic, so readers
   recognise what comes twice.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message

from radiolog.health import Health
from radiolog.log.api import Clients, Producer
from radiolog.log.clients import KafkaClients, max_record_bytes
from radiolog.log.errors import DeliveryUnknown, LogRefused, LogUnavailable, RecordTooLarge, kafka_error, translated
from radiolog.log.metrics import PROCESS, Metrics, PublisherMetrics
from radiolog.log.presence import Presence
from radiolog.log.trace import TraceContext
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event
from schemas.registry import RegistryError, RegistryUnavailable
from schemas.topics import Topic

POLL_SECONDS = 0.1
FLUSH_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Fact:
    """An event, the topic that it belongs on, and its place in a trace; without one it begins its own."""

    topic: Topic[Event]
    event: Event
    trace: TraceContext | None = None


class Publisher(Protocol):
    """What adapters need of the log; `MemoryPublisher` is the twin that tests use."""

    def publish(self, facts: Sequence[Fact]) -> None:
        """Returns once every fact is on the log; raises `LogError` otherwise."""


class MemoryPublisher:
    """A publisher that keeps its facts in a list; `failure`, if set, is raised instead."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.failure: Exception | None = None

    def publish(self, facts: Sequence[Fact]) -> None:
        """Keeps the facts."""
        if self.failure is not None:
            raise self.failure
        self.facts.extend(facts)


class KafkaPublisher:
    """A publisher on Kafka; any number of threads may call `publish` at the same time.

    Args:
        settings: Names and limits of the log.
        codec: Between events and records.
        clients: How to reach the log; by default Kafka, where the settings say.
        metrics: Where it counts.
        health: Told when the log goes, and when it is back.
    """

    def __init__(
        self,
        settings: Settings,
        codec: Codec,
        clients: Clients | None = None,
        metrics: Metrics = PROCESS,
        health: Health | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = PublisherMetrics(metrics)
        self._codec = codec
        self._clients = clients or KafkaClients(settings)
        self._lock = threading.Lock()
        self._broken = False
        self._producer = self._new_producer()
        self._presence = Presence(self._ask, health) if health is not None else None
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="delivery-reports", daemon=True)
        self._poller.start()

    def publish(self, facts: Sequence[Fact]) -> None:
        """Returns once the broker holds every fact; see the contract at the top of this module."""
        with self._metrics.publishing([fact.topic.name for fact in facts]):
            self._publish(facts)

    def _publish(self, facts: Sequence[Fact]) -> None:
        try:
            values = [self._codec.encode(fact.topic, fact.event) for fact in facts]
        except RegistryUnavailable as error:
            raise LogUnavailable(str(error)) from error
        except RegistryError as error:
            raise LogRefused(str(error)) from error
        limit = max_record_bytes(self._settings)
        for value in values:
            if len(value) > limit:
                raise RecordTooLarge(f"the record has {len(value)} bytes, the log takes {limit}")
        delivery = _Delivery(len(facts))
        for fact, value in zip(facts, values, strict=True):
            self._produce(fact, value, delivery)
        delivery.wait(FLUSH_SECONDS)

    def close(self) -> None:
        """Waits for what is under way, then lets go of the broker."""
        self._closed.set()
        self._poller.join()
        self._producer.flush(FLUSH_SECONDS)

    def __enter__(self) -> "KafkaPublisher":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _produce(self, fact: Fact, value: bytes, delivery: "_Delivery") -> None:
        topic = fact.topic.full_name(self._settings.topic_prefix)
        try:
            trace = fact.trace or TraceContext.begin()
            self._live_producer().produce(
                topic, value, fact.event.key, on_delivery=delivery.report, headers=list(trace.headers)
            )
        except BufferError:
            raise LogUnavailable("the producer's queue is full: the broker is slower than the devices") from None
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception

    def _live_producer(self) -> Producer:
        """The producer, rebuilt after a fatal error (an idempotent producer ends with its first lost sequence)."""
        with self._lock:
            if self._broken:
                self._producer = self._new_producer()
            return self._producer

    def _new_producer(self) -> Producer:
        self._broken = False
        return self._clients.producer(on_error=self._note_error)

    def _note_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken = True

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(POLL_SECONDS)
            if self._presence is not None:
                self._presence.look()
                if self._presence.is_lost:
                    with self._lock:
                        self._producer = self._new_producer()
                    self._presence.begin_anew()

    def _ask(self, seconds: float) -> object:
        return self._producer.list_topics(timeout=seconds)


class _Delivery:
    """The delivery reports of one call, awaited together."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._error: KafkaError | None = None
        self._done = threading.Event()
        if count == 0:
            self._done.set()

    def report(self, error: KafkaError | None, _: Message) -> None:
        """Called by the producer's poll, once a record, from one thread."""
        self._error = self._error or error
        self._missing -= 1
        if self._missing == 0:
            self._done.set()

    def wait(self, seconds: float) -> None:
        if not self._done.wait(seconds):
            raise DeliveryUnknown("no delivery report in time")
        if self._error is not None:
            raise translated(self._error)
