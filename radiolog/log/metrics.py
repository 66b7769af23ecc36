"""Every metric that a process of radiolog gives Prometheus: names, labels and buckets in one place.

Labels name stages, topics, partitions and fixed words for causes: few values, known when the code is written, and never
anything that came with an image. `radiolog.probes` shows the metrics of the process under /metrics; docs/operations.md
says what each means and what to be woken for.

A record counts as consumed once its outcome is committed, so that consumed = processed + rejected holds at any moment,
however often a batch had to be repeated before.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from confluent_kafka import Message
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Powers of two, as limits of batches are set: 32 events for inference, 500 for a sink."""

BYTES = tuple(1 << power for power in range(12, 28, 2))
"""4 KiB (a report) to 64 MiB (a full batch), by fours: an 8 MiB radiograph falls between two of them."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 100.0)
"""A transaction on one machine takes about 10 ms; a commit is given up after 30 s, and the process after 100 s."""

LATENCIES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""A diagnosis is to be there within a second; what waited for an hour is a replay or the end of an outage."""

_WORD = re.compile(r"[a-z][a-z_]{0,47}")


class Metrics:
    """The metrics of one registry; a process has one, and each test may have its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"radiolog_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"radiolog_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"radiolog_{name}", text, labels, buckets=buckets, registry=registry)

        self.consumed = counter("consumed", "Records whose outcome is committed.", "stage")
        self.produced = counter("produced", "Events that followed from them, dead letters aside.", "stage")
        self.rejected = counter("rejected", "Records that became dead letters.", "stage", "error_class")
        self.repeated = counter("repeated", "Batches that did not go through and were repeated.", "stage", "cause")
        self.transactions = counter("transactions", "Transactions by how they ended.", "stage", "outcome")
        self.batch_events = histogram("batch_events", "Records of a batch.", COUNTS, "stage")
        self.batch_bytes = histogram("batch_bytes", "Bytes of a batch's values.", BYTES, "stage")
        self.bytes_in_flight = gauge("bytes_in_flight", "Bytes of the batch that is worked on now.", "stage")
        self.process_seconds = histogram("process_seconds", "From a batch to its outcomes.", SECONDS, "stage")
        self.transaction_seconds = histogram("transaction_seconds", "To commit a batch's outcomes.", SECONDS, "stage")
        self.event_latency = histogram(
            "event_latency_seconds",
            "From an image's receipt at the adapter to this stage's commit.",
            LATENCIES,
            "stage",
        )
        self.lag = gauge("lag_records", "Records that wait, as seen by their reader.", "stage", "topic", "partition")
        self.published = counter("published", "Events that an adapter put on the log.", "topic")
        self.publish_failed = counter("publish_failed", "Calls to publish that failed.", "cause")
        self.transcoded = counter("transcoded", "Objects by what transcoding made of them.", "outcome")
        self.publish_seconds = histogram("publish_seconds", "To publish, broker's answer included.", SECONDS)


PROCESS = Metrics(REGISTRY)
"""What this process shows."""


class StageMetrics:
    """The metrics of one stage or sink; what a sink stores, it counts as produced, and its store as a transaction."""

    def __init__(self, stage: str, metrics: Metrics = PROCESS) -> None:
        self.stage = stage
        self.processing = metrics.process_seconds.labels(stage)
        self.transaction = metrics.transaction_seconds.labels(stage)
        self._consumed = metrics.consumed.labels(stage)
        self._produced = metrics.produced.labels(stage)
        self._rejected = metrics.rejected
        self._repeated = metrics.repeated
        self._transactions = metrics.transactions
        self._batch_events = metrics.batch_events.labels(stage)
        self._batch_bytes = metrics.batch_bytes.labels(stage)
        self._in_flight = metrics.bytes_in_flight.labels(stage)
        self._latency = metrics.event_latency.labels(stage)
        self._lag = metrics.lag

    @contextmanager
    def batch(self, messages: Sequence[Message]) -> Iterator[None]:
        """While a batch is worked on."""
        size = sum(len(message.value() or b"") for message in messages)
        self._batch_events.observe(len(messages))
        self._batch_bytes.observe(size)
        self._in_flight.set(size)
        try:
            yield
        finally:
            self._in_flight.set(0)

    def settled(self, produced: int, error_class: str | None, received_at: datetime | None) -> None:
        """One record's outcome is committed.

        Args:
            produced: Events that followed from it.
            error_class: Why it became a dead letter, if it did.
            received_at: When an adapter received the image that it goes back to, if it goes back to one.
        """
        self._consumed.inc()
        if error_class is None:
            self._produced.inc(produced)
        else:
            self._rejected.labels(self.stage, _word(error_class)).inc()
        if received_at is not None:
            # Clocks of two machines differ: nothing is committed before it is received.
            self._latency.observe(max(0.0, (datetime.now(UTC) - received_at).total_seconds()))

    def repeated(self, error: Exception) -> None:
        """A batch did not go through."""
        self._repeated.labels(self.stage, type(error).__name__).inc()

    def ended(self, outcome: str) -> None:
        """A transaction was `committed`, `aborted`, or left to its producer's successor to settle: `rebuilt`."""
        self._transactions.labels(self.stage, outcome).inc()

    def show_lag(self, topic: str, partition: int, records: int) -> None:
        """So many records of a partition wait."""
        self._lag.labels(self.stage, topic, str(partition)).set(records)

    def forget_lag(self, topic: str, partition: int) -> None:
        """The partition is another instance's now."""
        self._lag.remove(self.stage, topic, str(partition))


class PublisherMetrics:
    """The metrics of one publisher."""

    def __init__(self, metrics: Metrics = PROCESS) -> None:
        self._metrics = metrics

    @contextmanager
    def publishing(self, topics: Sequence[str]) -> Iterator[None]:
        """While one event is published to each of `topics`, their names without the site's prefix."""
        try:
            with self._metrics.publish_seconds.time():
                yield
        except Exception as error:
            self._metrics.publish_failed.labels(type(error).__name__).inc()
            raise
        for topic in topics:
            self._metrics.published.labels(topic).inc()


class CommitmentMetrics:
    """The metrics of storage commitment, of the one process that answers requests; the adapter's others come beside."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lag = Gauge(
            "radiolog_commitment_lag_records", "Records of images that the index has yet to read.", registry=registry
        )
        self.waiting = Gauge(
            "radiolog_commitment_waiting", "Requests that are neither reported nor given up.", registry=registry
        )
        self.reports = Counter(
            "radiolog_commitment_reports", "Attempts to report, by how they ended.", ["outcome"], registry=registry
        )


def _word(text: str) -> str:
    """A fixed word, for a label; anything else, whatever it holds, is none."""
    return text if _WORD.fullmatch(text) else "other"
