"""Exactly once, as read by a reader of committed records."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from confluent_kafka import KafkaException, Producer

from radiolog.health import Health
from radiolog.log import clients
from radiolog.log.batching import BatchLimits
from radiolog.log.errors import Fenced
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import pin, read
from radiolog.log.runtime import StageRunner
from radiolog.log.stage import Coordinates, Emit, Outcome, Received, Reject, StageUnavailable
from radiolog.log.transactions import HUNG_EXIT_CODE, OutgoingRecord, Transactions
from schemas.events import ImageEvent, PixelStatus, PixelType, PreprocessedImage, derived_id
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED


class Copy:
    """A stage that emits one event per image, unless a test tells it otherwise."""

    name = "copy"
    source = IMAGES

    def __init__(self) -> None:
        self.seen = 0
        self.hook = lambda batch: None

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        self.hook(batch)
        self.seen += len(batch)
        return [self.one(item) for item in batch]

    def one(self, item: Received[ImageEvent]) -> Outcome:
        return Emit((Fact(PREPROCESSED, derived(item)),))


def derived(item: Received[ImageEvent]) -> PreprocessedImage:
    image = item.event
    return PreprocessedImage(
        event_id=derived_id("copy", image.event_id),
        code_version="test",
        source=item.ref,
        patient_pseudonym=image.patient_pseudonym,
        study_uid=image.study_uid,
        series_uid=image.series_uid,
        sop_instance_uid=image.sop_instance_uid,
        status=PixelStatus.NOT_AN_IMAGE,
        spec_id="test@1",
        spec_sha256="0" * 64,
        frame=0,
        height=0,
        width=0,
        dtype=PixelType.UINT8,
        received_at=image.received_at,
        published_at=image.published_at,
        preprocessed_at=image.received_at,
        pixels=b"",
    )


@pytest.fixture
def publish(site, site_codec, image):
    def send(numbers) -> None:
        with KafkaPublisher(site, site_codec) as publisher:
            publisher.publish([Fact(IMAGES, image(number)) for number in numbers])

    return send


@pytest.fixture
def events(site, site_codec):
    """Everything that is committed to a topic now."""
    return lambda topic: [received.event for received in read(site, site_codec, pin(site, topic))]


@pytest.fixture
def running(site, site_codec):
    """Runs a stage in a thread until `enough` says so."""

    def run(stage, enough, ordinal=0, limits=None) -> None:
        stop, ready = threading.Event(), threading.Event()
        runner = StageRunner(stage, site, site_codec, ordinal=ordinal, limits=limits)
        failures: list[BaseException] = []

        def target() -> None:
            try:
                runner.run(stop, Health(ready.set))
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        try:
            assert ready.wait(60)
            poll = threading.Event()
            for _ in range(600):
                if enough() or failures:
                    break
                poll.wait(0.1)
            else:
                pytest.fail("it was never enough")
        finally:
            stop.set()
            thread.join(60)
        if failures:
            raise failures[0]

    return run


def test_each_record_once(site, publish, running, events, image):
    publish(range(100))
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 100)
    ids = Counter(event.source.event_id for event in events(PREPROCESSED))
    assert ids == {image(number).event_id: 1 for number in range(100)}


def test_a_restart_goes_on_where_it_was(publish, running, events):
    publish(range(30))
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 30)
    publish(range(30, 60))
    second = Copy()
    running(second, lambda: len(events(PREPROCESSED)) >= 60)
    assert second.seen == 30


def test_lineage_names_the_record(publish, running, events, site, site_codec):
    publish(range(5))
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 5)
    places = {r.event.event_id: r.at for r in read(site, site_codec, pin(site, IMAGES))}
    for event in events(PREPROCESSED):
        at = places[event.source.event_id]
        assert (event.source.topic, event.source.partition, event.source.offset) == (at.topic, at.partition, at.offset)


def test_a_reject_becomes_a_dead_letter_and_stops_nothing(publish, running, events, image):
    stage = Copy()
    poison = image(3).event_id
    emit = stage.one
    stage.one = lambda item: Reject("poison", "it is") if item.event.event_id == poison else emit(item)
    publish(range(10))
    running(stage, lambda: len(events(PREPROCESSED)) + len(events(DEAD_LETTERS)) >= 10)
    (letter,) = events(DEAD_LETTERS)
    assert (letter.stage, letter.error_class, letter.reason) == ("copy", "poison", "it is")
    assert letter.source_event_id == letter.image_event_id == poison
    assert len(events(PREPROCESSED)) == 9


def test_an_event_that_makes_the_stage_raise_is_found_in_its_batch(publish, running, events, image):
    stage = Copy()
    poison = image(7).event_id

    def hook(batch):
        if any(item.event.event_id == poison for item in batch):
            raise ValueError("PATIENT^NAME")

    stage.hook = hook
    publish(range(20))
    running(stage, lambda: len(events(PREPROCESSED)) + len(events(DEAD_LETTERS)) >= 20)
    (letter,) = events(DEAD_LETTERS)
    assert letter.error_class == "stage_failed"
    assert "ValueError" in letter.reason
    assert "PATIENT" not in letter.reason
    assert letter.source_event_id == poison


def test_a_record_that_is_no_event_becomes_a_dead_letter(site, publish, running, events):
    producer = Producer({"bootstrap.servers": site.bootstrap_servers})
    producer.produce(IMAGES.full_name(site.topic_prefix), b"not avro", "key")
    assert producer.flush(30) == 0
    publish(range(3))
    running(Copy(), lambda: len(events(PREPROCESSED)) + len(events(DEAD_LETTERS)) >= 4)
    (letter,) = events(DEAD_LETTERS)
    assert letter.error_class == "not_confluent_format"
    assert letter.source_event_id is None
    assert letter.topic == IMAGES.full_name(site.topic_prefix)


def test_what_a_stage_lacks_is_waited_for(publish, running, events):
    stage = Copy()
    failures = iter(range(3))

    def hook(batch):
        if next(failures, None) is not None:
            raise StageUnavailable("not yet", retry_after=0.01)

    stage.hook = hook
    publish(range(10))
    running(stage, lambda: len(events(PREPROCESSED)) >= 10)
    assert len(events(PREPROCESSED)) == 10
    assert not events(DEAD_LETTERS)


@pytest.mark.parametrize("call", ["begin_transaction", "produce", "send_offsets_to_transaction", "commit_transaction"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_error_at_any_call_loses_and_doubles_nothing(publish, running, events, monkeypatch, call, after):
    """The producer fails once, just before or just after the broker has heard of it."""
    publish(range(20))
    monkeypatch.setattr(clients, "transactional_producer", failing_once(call, after))
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 20, limits=BatchLimits(events=7))
    assert set(Counter(event.event_id for event in events(PREPROCESSED)).values()) == {1}
    assert len(events(PREPROCESSED)) == 20


def failing_once(call, after):
    from confluent_kafka import KafkaError

    original = clients.transactional_producer
    state = {"failed": False}

    class Failing:
        def __init__(self, producer) -> None:
            self._producer = producer

        def __getattr__(self, name):
            method = getattr(self._producer, name)
            if name != call or state["failed"]:
                return method

            def fail(*arguments, **options):
                state["failed"] = True  # the rebuilt producer works
                if after:
                    method(*arguments, **options)
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "injected"))

            return fail

    return lambda settings, transactional_id: Failing(original(settings, transactional_id))


HANGS = """
import sys
from radiolog.log import transactions
transactions.LONGEST_SECONDS = 0.5

class Hanging:
    def init_transactions(self, seconds): pass
    def begin_transaction(self): pass
    def send_offsets_to_transaction(self, *_):
        import threading
        threading.Event().wait()

transactions.Transactions(Hanging).run([], ["offset"])
"""


def test_a_call_that_never_comes_back_ends_the_process():
    """So that its successor can settle the transaction; a hung stage looks alive to everybody."""
    result = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == HUNG_EXIT_CODE
    assert "does not come back" in result.stdout + result.stderr


def test_a_second_instance_with_the_same_ordinal_fences_the_first(site):
    def build():
        return clients.transactional_producer(site, f"{site.app}-same-id")

    first = Transactions(build)
    Transactions(build)
    member = clients.member(site, "some-group", "some-member")
    record = OutgoingRecord(PREPROCESSED.full_name(site.topic_prefix), "key", b"value")
    with pytest.raises(Fenced):
        first.run([record], [], member.consumer_group_metadata())
    member.close()


def test_two_instances_share_the_work(publish, running, events, site, site_codec):
    publish(range(40))
    other, stop, ready = Copy(), threading.Event(), threading.Event()
    thread = threading.Thread(
        target=StageRunner(other, site, site_codec, ordinal=1).run, args=(stop, Health(ready.set))
    )
    thread.start()
    try:
        assert ready.wait(60)
        one = Copy()

        def both_work() -> bool:
            publish(range(40, 80))  # again and again, until a partition of each has had some
            return one.seen > 0 and other.seen > 40

        running(one, both_work)
    finally:
        stop.set()
        thread.join(60)
    running(Copy(), lambda: len(events(PREPROCESSED)) >= len(events(IMAGES)))  # what they left
    images = Counter(item.at for item in read(site, site_codec, pin(site, IMAGES)))
    sources = [event.source for event in events(PREPROCESSED)]
    assert Counter(Coordinates(ref.topic, ref.partition, ref.offset) for ref in sources) == images
