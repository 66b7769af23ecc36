"""What counting costs a stage: per batch of 32 records, per look at the lag of 6 partitions, and per scrape.

.venv/bin/python benchmarks/metrics_cost.py
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from confluent_kafka import Message, TopicPartition
from prometheus_client import CollectorRegistry, generate_latest

from radiolog.log.lag_meter import EVERY_SECONDS, LagMeter
from radiolog.log.metrics import Metrics, StageMetrics

ROUNDS = 5000
BATCH = [Message(topic="images", partition=0, offset=offset, value=bytes(50_000)) for offset in range(32)]
PARTITIONS = [TopicPartition("images", number, 50) for number in range(6)]


class Reader:
    """Answers as a consumer does from what it has in memory."""

    def assignment(self) -> list[TopicPartition]:
        """Six partitions."""
        return PARTITIONS

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        """All at the same end."""
        return 0, 100


def one_batch(metrics: StageMetrics, received_at: datetime) -> None:
    """All that `radiolog.log.runtime` tells of a batch."""
    with metrics.batch(BATCH):
        with metrics.processing.time():
            pass
        with metrics.transaction.time():
            pass
        metrics.ended("committed")
        for _ in BATCH:
            metrics.settled(1, None, received_at)


def microseconds(work: Callable[[], object]) -> str:
    """Median and 99th percentile of many calls."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(1e6 * (time.perf_counter() - began))
    return f"{statistics.median(took):.0f} µs, 99th percentile {statistics.quantiles(took, n=100)[98]:.0f} µs"


def main() -> None:
    """Prints three lines."""
    registry, now = CollectorRegistry(), [0.0]
    metrics = StageMetrics("preprocess", Metrics(registry))
    meter = LagMeter(Reader(), metrics, lambda: now[0])  # type: ignore[arg-type]
    meter.settled(PARTITIONS)

    def look() -> None:
        now[0] += EVERY_SECONDS
        meter.measure()

    received_at = datetime.now(UTC)
    print("batch of 32 records:", microseconds(lambda: one_batch(metrics, received_at)))
    print("lag of 6 partitions, every 3 s:", microseconds(look))
    print("scrape:", microseconds(lambda: generate_latest(registry)), f"for {len(generate_latest(registry))} bytes")


if __name__ == "__main__":
    main()
