"""Metrics agree with what was published, and hold nothing that came with an image."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry, generate_latest

from radiolog.health import Health
from radiolog.log.errors import RecordTooLarge
from radiolog.log.lag_meter import EVERY_SECONDS, MARKERS, LagMeter
from radiolog.log.metrics import CommitmentMetrics, Metrics, StageMetrics
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.runtime import StageRunner
from radiolog.log.sink import SinkRunner, SinkUnavailable
from radiolog.log.stage import Emit, Outcome, Received, Reject, StageUnavailable
from schemas.events import DeadLetter, Event, ImageEvent
from schemas.topics import DEAD_LETTERS, IMAGES, LABELS

NAME, NUMBER = "Wintermute^Neuromancer", "PID-990417731"


class Refuse:
    """Every third image is refused, the rest is passed on; the first call fails."""

    name = "refuse"
    source = IMAGES

    def __init__(self) -> None:
        self.calls = 0

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        self.calls += 1
        if self.calls == 1:
            raise StageUnavailable("not yet", retry_after=0.01)
        return [self.one(item.event) for item in batch]

    def one(self, image: ImageEvent) -> Outcome:
        if image.received_sha256[-1] % 3 == 0:
            return Reject("every_third", "it is one")
        return Emit((Fact(LABELS, label(image)),))


def label(image: ImageEvent) -> Event:
    return LABELS.event(
        event_id=image.event_id,
        code_version="test",
        study_uid=image.study_uid,
        image_event_id=image.event_id,
        code="233604007",
        name="pneumonia",
        decision="PRESENT",
        severity="NONE",
        source="DATASET",
        author="test",
        labelled_at=image.received_at,
    )


class Rows:
    """A store in memory; the first call fails."""

    name = "rows"
    topics = (DEAD_LETTERS, LABELS)

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.at: dict[tuple[str, int], int] = {}
        self.failures = [SinkUnavailable("down", retry_after=0.01)]

    def positions(self, partitions):
        return {place: self.at.setdefault(place, 0) for place in partitions}

    def store(self, events, advances) -> None:
        if self.failures:
            raise self.failures.pop()
        self.events += events
        self.at |= {place: advance.next for place, advance in advances.items()}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def value(registry):
    """A sample's value; 0 where there is none yet."""
    return lambda name, **labels: registry.get_sample_value(f"radiolog_{name}", labels) or 0


@pytest.fixture
def run(world, registry):
    """Runs a stage or a sink until `enough` says so."""

    def work(thing, enough) -> None:
        kind = StageRunner if hasattr(thing, "source") else SinkRunner
        runner = kind(thing, world.settings, world.codec, clients=world.clients, metrics=Metrics(registry))
        with world.running(runner) as until:
            until(enough)

    return work


def test_a_stage_counts_each_record_once_however_often_its_batch_was_repeated(world, image, run, value):
    received = datetime.now(UTC) - timedelta(seconds=45)
    world.publish(IMAGES, [image(number, received_at=received) for number in range(30)])
    run(Refuse(), lambda: value("consumed_total", stage="refuse") >= 30)
    assert value("consumed_total", stage="refuse") == 30
    assert value("rejected_total", stage="refuse", error_class="every_third") == 10
    assert value("produced_total", stage="refuse") == 20
    assert value("repeated_total", stage="refuse", cause="StageUnavailable") == 1
    settled = value("transactions_total", stage="refuse", outcome="committed")
    assert value("transaction_seconds_count", stage="refuse") == settled > 0
    assert value("process_seconds_count", stage="refuse") == value("batch_events_count", stage="refuse") == settled + 1
    assert value("bytes_in_flight", stage="refuse") == 0
    assert value("event_latency_seconds_count", stage="refuse") == 30
    assert value("event_latency_seconds_bucket", stage="refuse", le="30.0") == 0
    assert value("event_latency_seconds_bucket", stage="refuse", le="300.0") == 30


def test_a_record_that_is_no_event_is_counted_as_rejected(world, run, value):
    world.publish_raw(IMAGES, b"no event")
    run(Refuse(), lambda: value("consumed_total", stage="refuse") >= 1)
    assert value("rejected_total", stage="refuse", error_class="not_confluent_format") == 1
    assert value("event_latency_seconds_count", stage="refuse") == 0


def test_a_sink_counts_what_it_stored(world, image, run, value):
    world.publish(LABELS, [label(image(number)) for number in range(7)])
    world.publish_raw(DEAD_LETTERS, b"no event")
    sink = Rows()
    run(sink, lambda: value("consumed_total", stage="rows") >= 8)
    assert value("consumed_total", stage="rows") == len(sink.events) == 8
    assert value("produced_total", stage="rows") == 7
    assert value("rejected_total", stage="rows", error_class="not_confluent_format") == 1
    assert value("repeated_total", stage="rows", cause="SinkUnavailable") == 1
    assert value("transactions_total", stage="rows", outcome="aborted") == 1
    assert sum(isinstance(event, DeadLetter) for event in sink.events) == 1


def test_a_publisher_counts_what_the_log_took_and_what_it_did_not(world, image, registry, value):
    with KafkaPublisher(world.settings, world.codec, world.clients, Metrics(registry)) as publisher:
        publisher.publish([Fact(IMAGES, image(1)), Fact(IMAGES, image(2)), Fact(LABELS, label(image(1)))])
        with pytest.raises(RecordTooLarge):
            publisher.publish([Fact(IMAGES, image(3, payload=bytes(9 << 20)))])
    assert (value("published_total", topic="images"), value("published_total", topic="labels")) == (2, 1)
    assert value("publish_failed_total", cause="RecordTooLarge") == 1
    assert value("publish_seconds_count") == 2


def test_neither_metrics_nor_logs_hold_what_came_with_an_image(world, image, run, value, registry, capfd):
    """Names in every field that could bear one, in a good event, in a rejected one, and in one that is no event."""
    own = {"patient_pseudonym": NUMBER, "series_uid": NUMBER, "sop_instance_uid": NUMBER, "modality": NAME}
    texts = own | {"body_part": NAME, "view_position": NAME, "payload": NAME.encode(), "study_uid": NUMBER}
    world.publish(IMAGES, [image(number, **texts) for number in range(6)])
    world.publish_raw(IMAGES, NAME.encode() + NUMBER.encode())

    class Raises(Refuse):
        def one(self, image: ImageEvent) -> Outcome:
            if image.received_sha256[-1] == 1:
                raise ValueError(f"{image.modality} {image.study_uid}")
            return super().one(image)

    run(Raises(), lambda: value("consumed_total", stage="refuse") >= 7)
    printed = "".join(capfd.readouterr())
    assert "stage_failed" in printed
    assert "event_id" in printed
    shown = generate_latest(registry).decode()
    assert 'radiolog_consumed_total{stage="refuse"} 7.0' in shown
    for text in (NAME, NUMBER, "Wintermute", "990417731"):
        assert text not in printed
        assert text not in shown


def test_a_label_takes_fixed_words_only(registry):
    StageMetrics("stage", Metrics(registry)).settled(0, f"no room for {NAME}", None)
    shown = generate_latest(registry).decode()
    assert 'error_class="other"' in shown
    assert NAME not in shown


class Reader:
    """What a lag meter asks of a consumer."""

    def __init__(self) -> None:
        self.ends = {("t", 0): 100, ("t", 1): -1001}
        self.broken = False

    def assignment(self):
        return [TopicPartition(*place) for place in self.ends]

    def get_watermark_offsets(self, partition, timeout=-1, cached=False):
        assert cached, "the broker is not to be asked"
        if self.broken:
            raise KafkaException(KafkaError(KafkaError._STATE, "gone"))
        return 0, self.ends[partition.topic, partition.partition]


@pytest.fixture
def meter(registry):
    reader, now = Reader(), [0.0]
    made = LagMeter(reader, StageMetrics("s", Metrics(registry)), lambda: now[0])

    def measure() -> float | None:
        now[0] += EVERY_SECONDS
        made.measure()
        return registry.get_sample_value("radiolog_lag_records", {"stage": "s", "topic": "t", "partition": "0"})

    return made, reader, measure


def test_lag_goes_from_what_is_settled_to_the_end(meter):
    made, reader, measure = meter
    assert measure() is None, "nothing is known of it yet"
    made.settled([TopicPartition("t", 0, 40)])
    assert measure() == 60
    made.settled([TopicPartition("t", 0, 90)])
    reader.ends["t", 0] = 200
    assert measure() == 110
    del reader.ends["t", 0]
    assert measure() is None, "the partition is another's now"


def test_the_end_of_a_transaction_is_no_record(meter):
    made, _, measure = meter
    made.settled([TopicPartition("t", 0, 100 - MARKERS)])
    assert measure() == MARKERS
    assert measure() == 0, "nothing came, though there was time"
    made.settled([TopicPartition("t", 0, 100 - MARKERS - 1)])
    assert measure() == measure() == MARKERS + 1, "so many are no markers"


def test_a_batch_that_is_repeated_all_the_time_waits(meter):
    from confluent_kafka import Message

    made, _, measure = meter
    for _ in range(3):
        made.took([Message(topic="t", partition=0, offset=99)])
        assert measure() == 1


def test_a_broken_consumer_costs_the_lag_and_nothing_else(meter):
    made, reader, measure = meter
    made.settled([TopicPartition("t", 0, 40)])
    assert measure() == 60
    reader.broken = True
    assert measure() == 60


def test_lag_on_a_log(world, image, registry, monkeypatch, value):
    """A member that has read everything shows no lag, whatever markers stand at the end; one that can't, shows all."""
    import threading

    from radiolog.log import lag_meter

    monkeypatch.setattr(lag_meter, "EVERY_SECONDS", 0.3)
    world.publish(LABELS, [label(image(number)) for number in range(5)])
    name = world.name(LABELS)

    def lag() -> float:
        return sum(value("lag_records", stage="rows", topic=name, partition=str(p)) for p in range(2))

    sink = Rows()
    sink.failures = [SinkUnavailable("down", retry_after=0.05) for _ in range(20)]
    runner = SinkRunner(sink, world.settings, world.codec, clients=world.clients, metrics=Metrics(registry))
    member = runner.join(threading.Event(), Health())
    seen = set()
    try:
        while len(sink.events) < 5 or lag() > 0:
            member.round()
            seen.add(lag())
    finally:
        member.close()
    assert 5 in seen


def test_the_documentation_names_every_metric_and_its_labels(registry):
    from pathlib import Path

    metrics = Metrics(registry)
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = {
        cells[1].strip(" `"): cells[2] for cells in (line.split("|") for line in text.splitlines()) if len(cells) > 4
    }
    for metric in (*vars(metrics).values(), *vars(CommitmentMetrics(registry)).values()):
        (family,) = metric.describe()
        name = family.name.removeprefix("radiolog_") + ("_total" if family.type == "counter" else "")
        assert rows[name].strip() == ", ".join(metric._labelnames), name
