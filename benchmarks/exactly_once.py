"""What exactly-once costs: a stage's throughput with transactions, against the same loop without them.

    .venv/bin/python benchmarks/exactly_once.py [--json FILE] [--pairs 15] [--case "50 kB"]

It starts servers of its own. Both sides run the real loop, `radiolog.log.runtime.StageMember`: same batches, limits,
decoding, encoding, metrics and logs, on the same input, with a stage that does no work but emits one record for each
event, of the same size or, as preprocess does, a smaller one.

- exactly once: what radiolog does. Records and offsets in one Kafka transaction per batch.
- at least once: an idempotent producer with acks=all and the same linger. Per batch, the records are flushed, and then
  the offsets are committed by the consumer, synchronously. A crash in between repeats the batch.

The sides take short turns in one process, each in a group of its own and to a topic of its own; who begins changes from
one pair of turns to the next. A turn begins with some batches that are not timed, so that what the client had fetched
before is gone. The ratio is that of a pair, and of all pairs the median: other work on the machine comes and goes.
"""

import argparse
import json
import logging
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError, TopicPartition
from own_servers import admin_of, create, delete, own_servers, surroundings

from radiolog import __version__
from radiolog.health import Health
from radiolog.log import clients as kafka_clients
from radiolog.log.api import Clients, Consumer, Delivered, Headers, Producer
from radiolog.log.batching import BatchLimits
from radiolog.log.clients import KafkaClients
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.runtime import StageRunner
from radiolog.log.stage import Emit, Outcome, Received
from radiolog.service import configure_logs
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import (
    ImageEvent,
    ImageSource,
    PixelStatus,
    PixelType,
    PreprocessedImage,
    SourceKind,
    derived_id,
    image_event_id,
)
from schemas.registry import MemoryRegistry
from schemas.topics import IMAGES, Topic

PARTITIONS = 6
FLUSH_SECONDS = 30.0
KEPT_BYTES = 256 << 20
"""What a partition of the output keeps: nobody reads it, and the disk is not to hold it all."""
SIDES = ("exactly once", "at least once")


@dataclass(frozen=True, slots=True)
class Case:
    """Events of `size` bytes to records of `derived` bytes, how many make a turn, and the ratio that is aimed at."""

    name: str
    size: int
    derived: int
    before: int
    timed: int
    goal: float | None = None
    limits: BatchLimits = BatchLimits()  # noqa: RUF009 (frozen)

    @property
    def turn(self) -> int:
        """Events of a turn at most: each of its parts ends with a whole batch."""
        batch = min(self.limits.events, self.limits.bytes // self.size + 1)
        return self.before + self.timed + 2 * batch


CASES = (
    Case("50 kB to 50 kB", 50_000, 50_000, 500, 1_000, 0.9),
    Case("50 kB to 50 kB, batches of 32", 50_000, 50_000, 400, 800, limits=BatchLimits(events=32)),
    Case("50 kB to 2 kB", 50_000, 2_000, 500, 1_000),
    Case("7 MB to 7 MB", 7_000_000, 7_000_000, 10, 30, 0.97),
    Case("7 MB to 50 kB", 7_000_000, 50_176, 10, 30),
)


class Relay:
    """A stage that does no work: each event gives one record."""

    source = IMAGES

    def __init__(self, name: str, to: Topic[PreprocessedImage], pixels: bytes) -> None:
        self.name = name
        self.seen = 0
        self._to = to
        self._pixels = pixels

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        """One record per event."""
        self.seen += len(batch)
        return [Emit((Fact(self._to, derived(item, self._pixels)),)) for item in batch]


class AtLeastOnce:
    """Clients that keep the loop and leave out its transactions: what would be one is a flush and a commit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients = KafkaClients(settings)
        self.consumer: Consumer | None = None

    def member(self, group: str, instance: str) -> Consumer:
        """As ever."""
        self.consumer = self._clients.member(group, instance)
        return self.consumer

    def transactional_producer(self, transactional_id: str) -> Producer:
        """An idempotent producer with a stage's linger."""
        import confluent_kafka

        config = kafka_clients.transactional_config(self._settings, transactional_id)
        del config["transactional.id"], config["transaction.timeout.ms"]
        return FlushAndCommit(self, confluent_kafka.Producer(config))


class FlushAndCommit:
    """A transaction's calls, without a transaction."""

    def __init__(self, clients: AtLeastOnce, producer: Any) -> None:
        self._clients = clients
        self._producer = producer
        self._offsets: list[TopicPartition] = []
        self._failed: list[KafkaError] = []

    def produce(
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        *,
        on_delivery: Delivered | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Queues a record; whoever delivers must know of failures, which a transaction would know by itself."""
        self._producer.produce(topic, value, key, headers=headers, on_delivery=self._note)

    def commit_transaction(self, timeout: float = -1) -> None:
        """All records are on the log, and then the offsets are."""
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._failed:
            raise RuntimeError(f"{left} records are not delivered, {self._failed}")
        self._clients.consumer.commit(offsets=self._offsets, asynchronous=False)  # type: ignore[union-attr]

    def send_offsets_to_transaction(self, positions: list[TopicPartition], group: Any, timeout: float = -1) -> None:
        """Keeps them for the commit."""
        self._offsets = positions

    def init_transactions(self, timeout: float = -1) -> None:
        """Nothing."""

    def begin_transaction(self) -> None:
        """Nothing."""

    def abort_transaction(self, timeout: float = -1) -> None:
        """There is nothing to go back to."""
        raise RuntimeError("at least once knows no way back")

    def poll(self, timeout: float = -1) -> int:
        """As ever."""
        return int(self._producer.poll(timeout))

    def flush(self, timeout: float = -1) -> int:
        """As ever."""
        return int(self._producer.flush(timeout))

    def _note(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self._failed.append(error)


def image(number: int, payload: bytes) -> ImageEvent:
    """The image event of a number."""
    now, sha256 = datetime.now(UTC), number.to_bytes(32, "big")
    return ImageEvent(
        event_id=image_event_id(sha256),
        code_version=__version__,
        study_uid=f"2.25.{number}",
        patient_pseudonym="P-1",
        series_uid="2.25.2",
        sop_instance_uid=f"2.25.3.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CR",
        deidentification="none",
        source=ImageSource(kind=SourceKind.FILE, peer="benchmark", adapter="benchmark"),
        received_at=now,
        published_at=now,
        received_bytes=len(payload),
        received_sha256=sha256,
        payload=payload,
    )


def derived(item: Received[ImageEvent], pixels: bytes) -> PreprocessedImage:
    """What follows from it."""
    event = item.event
    return PreprocessedImage(
        event_id=derived_id("relay", event.event_id),
        code_version=__version__,
        source=item.ref,
        patient_pseudonym=event.patient_pseudonym,
        study_uid=event.study_uid,
        series_uid=event.series_uid,
        sop_instance_uid=event.sop_instance_uid,
        status=PixelStatus.NOT_AN_IMAGE,
        spec_id="benchmark@1",
        spec_sha256="0" * 64,
        frame=0,
        height=0,
        width=0,
        dtype=PixelType.UINT8,
        received_at=event.received_at,
        published_at=event.published_at,
        preprocessed_at=event.received_at,
        pixels=pixels,
    )


class Side:
    """One of the two loops, while it is a member of its group."""

    def __init__(self, settings: Settings, codec: Codec, clients: Clients, stage: Relay, limits: BatchLimits) -> None:
        self._stage = stage
        runner = StageRunner(stage, settings, codec, clients=clients, limits=limits)
        self._member = runner.join(threading.Event(), Health())

    def turn(self, case: Case) -> float:
        """Events per second of the turn's later part; the earlier takes what was fetched while the other side ran."""
        self._work(case.before)
        seen, began = self._stage.seen, time.perf_counter()
        self._work(case.timed)
        return (self._stage.seen - seen) / (time.perf_counter() - began)

    def close(self) -> None:
        """Leaves the group."""
        self._member.close()

    def _work(self, events: int) -> None:
        enough = self._stage.seen + events
        while self._stage.seen < enough:
            self._member.round()


def measure(settings: Settings, case: Case, pairs: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Events per second of each side, and the ratio of each pair of turns."""
    codec, admin = Codec(MemoryRegistry(), settings.topic_prefix), admin_of(settings)
    outputs = {side: Topic(side.replace(" ", "-"), PreprocessedImage, "preprocessed_image") for side in SIDES}
    create(admin, IMAGES, settings)
    for topic in outputs.values():
        create(admin, topic, settings, **{"retention.bytes": str(KEPT_BYTES)})
    publish(settings, codec, case, (pairs + 1) * case.turn)
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        sides = {}
        for side, topic in outputs.items():
            clients: Any = KafkaClients(settings) if side == SIDES[0] else AtLeastOnce(settings)
            stage = Relay(topic.name, topic, b"\x55" * case.derived)
            sides[side] = stack.enter_context(closing(Side(settings, codec, clients, stage, case.limits)))
            sides[side].turn(case)  # until it has joined, and the broker and this process are warm
        for pair in range(pairs):
            for side in SIDES if pair % 2 else SIDES[::-1]:
                rates[side].append(sides[side].turn(case))
            tell(f"{case.name}: " + ", ".join(f"{side} {rates[side][-1]:.1f}/s" for side in SIDES))
    for topic in (IMAGES, *outputs.values()):
        delete(admin, topic, settings)
    return summary(case, rates)


def publish(settings: Settings, codec: Codec, case: Case, events: int) -> None:
    """Puts so many events on the log."""
    payload = (bytes(range(256)) * (case.size // 256 + 1))[: case.size]
    together = max(1, 10_000_000 // case.size)
    with KafkaPublisher(settings, codec) as publisher:
        for first in range(0, events, together):
            numbers = range(first, min(events, first + together))
            publisher.publish([Fact(IMAGES, image(number, payload)) for number in numbers])


def summary(case: Case, rates: dict[str, list[float]]) -> dict[str, Any]:
    """Medians and spread: the least and the greatest."""
    ratios = [once / least for once, least in zip(rates[SIDES[0]], rates[SIDES[1]], strict=True)]
    return asdict(case) | {
        "events per second": {side: _spread(values) for side, values in rates.items()},
        "MB per second": {side: statistics.median(values) * case.size / 1e6 for side, values in rates.items()},
        "ratio of medians": statistics.median(rates[SIDES[0]]) / statistics.median(rates[SIDES[1]]),
        "ratio of pairs": _spread(ratios),
        "all": rates,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def table(results: Sequence[dict[str, Any]]) -> str:
    """As a table in Markdown."""
    lines = [
        "| events to records | exactly once | at least once | ratio of pairs, median (spread) | of medians | goal |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        rates = [one["events per second"][side] for side in SIDES]
        cells = [f"{r['median']:.1f}/s ({r['least']:.1f} to {r['greatest']:.1f})" for r in rates]
        ratio = one["ratio of pairs"]
        lines.append(
            f"| {one['name']} | {' | '.join(cells)} | {ratio['median']:.3f} ({ratio['least']:.2f} to "
            f"{ratio['greatest']:.2f}) | {one['ratio of medians']:.3f} | {one['goal'] or ''} |"
        )
    return "\n".join(lines)


def tell(line: str) -> None:
    """What is going on, for people who wait."""
    print(line, file=sys.stderr)


def main() -> int:
    """Prints the table; exit code 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="of turns, for each case")
    parser.add_argument("--case", help="only cases whose name begins so")
    parser.add_argument(
        "--json", metavar="FILE", help="write everything that was measured there, - for standard output"
    )
    arguments = parser.parse_args()
    configure_logs(logging.ERROR)
    around = surroundings()
    with own_servers(PARTITIONS) as settings:
        chosen = [case for case in CASES if case.name.startswith(arguments.case or "")]
        results = [measure(settings, case, arguments.pairs, tell) for case in chosen]
    document = {"surroundings": around, "pairs": arguments.pairs, "cases": results}
    if arguments.json == "-":
        print(json.dumps(document, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in around.items()))
        print(table(results))
        if arguments.json:
            with open(arguments.json, "w") as file:
                json.dump(document, file, indent=2)
    missed = [one["name"] for one in results if one["goal"] and one["ratio of pairs"]["median"] < one["goal"]]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
