"""Exactly once, as read by a reader of committed records: on Kafka, and on its twin."""

import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from functools import partial

import pytest
from confluent_kafka import KafkaError, KafkaException

from radiolog.log import attendant, clients
from radiolog.log.batching import BatchLimits
from radiolog.log.clients import KafkaClients
from radiolog.log.errors import Fenced, LogRefused
from radiolog.log.memory import MemoryLog
from radiolog.log.publisher import Fact
from radiolog.log.runtime import StageRunner
from radiolog.log.stage import Coordinates, Reject, StageUnavailable
from radiolog.log.trace import TraceContext
from radiolog.log.transactions import HUNG_EXIT_CODE, OutgoingRecord, Remedy, Transactions, remedy
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED
from tests.log.stand_ins import Copy


@pytest.fixture
def publish(world, image):
    return lambda numbers: world.publish(IMAGES, [image(number) for number in numbers])


@pytest.fixture
def events(world):
    return world.events


@pytest.fixture
def running(world):
    """Runs a stage in a thread until `enough` says so."""

    def run(stage, enough, ordinal=0, limits=None, clients=None) -> None:
        with world.running(runner(world, stage, ordinal, limits, clients)) as until:
            until(enough)

    return run


def runner(world, stage, ordinal=0, limits=None, clients=None) -> StageRunner:
    clients = clients or world.clients
    return StageRunner(stage, world.settings, world.codec, ordinal=ordinal, limits=limits, clients=clients)


def test_each_record_once(publish, running, events, image):
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


def test_lineage_names_the_record(publish, running, events, world):
    publish(range(5))
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 5)
    places = {r.event.event_id: r.at for r in world.read(world.pin(IMAGES))}
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


def test_a_record_that_is_no_event_becomes_a_dead_letter(world, publish, running, events):
    world.publish_raw(IMAGES, b"not avro")
    publish(range(3))
    running(Copy(), lambda: len(events(PREPROCESSED)) + len(events(DEAD_LETTERS)) >= 4)
    (letter,) = events(DEAD_LETTERS)
    assert letter.error_class == "not_confluent_format"
    assert letter.source_event_id is None
    assert letter.topic == world.name(IMAGES)


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


CALLS = ["begin_transaction", "produce", "send_offsets_to_transaction", "commit_transaction"]
ERRORS = {
    "no answer": KafkaError(KafkaError._TIMED_OUT, "injected"),
    "abort": KafkaError(KafkaError.TRANSACTION_ABORTABLE, "injected", False, False, True),
    "again": KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "injected", False, True, False),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_at_any_call_loses_and_doubles_nothing(world, publish, running, events, call, after, error):
    """The producer fails once, just before or just after the broker has heard of it."""
    publish(range(20))
    clients = FailingOnce(world.clients, call, after, ERRORS[error])
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 20, limits=BatchLimits(events=7), clients=clients)
    assert clients.failed
    assert set(Counter(event.event_id for event in events(PREPROCESSED)).values()) == {1}
    assert len(events(PREPROCESSED)) == 20


class FailingOnce:
    """Clients whose first transactional producer fails at one call, once."""

    def __init__(self, clients, call: str, after: bool, error: KafkaError) -> None:
        self._clients, self._call, self._after, self._error = clients, call, after, error
        self.failed = False

    def __getattr__(self, name):
        return getattr(self._clients, name)

    def transactional_producer(self, transactional_id):
        return _Failing(self._clients.transactional_producer(transactional_id), self)

    def interfere(self, method, *arguments, **options):
        if self.failed:  # the same call, again
            return method(*arguments, **options)
        self.failed = True
        if self._after:
            method(*arguments, **options)
        raise KafkaException(self._error)

    def wants(self, name) -> bool:
        return name == self._call and not self.failed


class _Failing:
    def __init__(self, producer, clients: FailingOnce) -> None:
        self._producer, self._clients = producer, clients

    def __getattr__(self, name):
        method = getattr(self._producer, name)
        return partial(self._clients.interfere, method) if self._clients.wants(name) else method


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KafkaError(KafkaError.PRODUCER_FENCED, "", True), Remedy.STOP),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, ""), Remedy.STOP),
        (KafkaError(KafkaError.ILLEGAL_GENERATION, "", False, False, True), Remedy.ABORT),
        (KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "", False, True), Remedy.RETRY),
        (KafkaError(KafkaError._TIMED_OUT, "", False, True), Remedy.REBUILD),
        (KafkaError(KafkaError._TRANSPORT, "", False, True), Remedy.REBUILD),
        (KafkaError(KafkaError._STATE, ""), Remedy.REBUILD),
        (KafkaError(KafkaError.REQUEST_TIMED_OUT, "", False, True), Remedy.REBUILD),
    ],
    ids=lambda value: value.name() if isinstance(value, KafkaError) else value.name,
)
def test_each_error_has_its_remedy(error, expected):
    assert remedy(error) is expected


def test_a_fatal_error_ends_the_instance(world, publish, running, events):
    publish(range(3))
    fatal = KafkaError(KafkaError._FATAL, "injected", True)
    with pytest.raises(LogRefused):
        running(Copy(), lambda: False, clients=FailingOnce(world.clients, "begin_transaction", False, fatal))
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 3)
    assert len(events(PREPROCESSED)) == 3


HANGS = """
import sys
from radiolog.log import transactions
transactions.OFFSETS_SECONDS = transactions.GRACE_SECONDS = 0.25

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


def test_a_producer_that_has_failed_does_not_hide_why_when_it_is_closed():
    class Failed:
        flushed = 0

        def init_transactions(self, seconds):
            pass

        def flush(self, seconds):
            self.flushed += 1
            raise KafkaException(KafkaError(KafkaError._FENCED, "injected", True))

    producer = Failed()
    Transactions(lambda: producer).close()
    assert producer.flushed == 1


def test_a_second_instance_with_the_same_ordinal_fences_the_first(world):
    def build():
        return world.clients.transactional_producer(f"{world.settings.app}-same-id")

    first = Transactions(build)
    Transactions(build)
    with pytest.raises(Fenced):
        first.run([OutgoingRecord(world.name(PREPROCESSED), "key", b"value")])


def test_two_instances_share_the_work(world, publish, running, events):
    publish(range(40))
    one, other = Copy(), Copy()
    with world.running(runner(world, other, ordinal=1)):

        def both_work() -> bool:
            publish(range(40, 80))  # again and again, until a partition of each has had some
            return one.seen > 0 and other.seen > 40

        running(one, both_work)
    if isinstance(world.clients, MemoryLog):  # where no session times out by itself
        world.clients.evict(f"{world.settings.app}-copy", f"{world.settings.app}-copy-1")
    running(Copy(), lambda: len(events(PREPROCESSED)) >= len(events(IMAGES)))  # what they left
    images = Counter(item.at for item in world.read(world.pin(IMAGES)))
    sources = [event.source for event in events(PREPROCESSED)]
    assert Counter(Coordinates(ref.topic, ref.partition, ref.offset) for ref in sources) == images


def test_more_instances_than_partitions_are_all_ready(world, publish, running, events):
    publish(range(10))
    with ExitStack() as stack:
        for ordinal in range(1, 4):
            stack.enter_context(world.running(runner(world, Copy(), ordinal)))
        running(Copy(), lambda: len(events(PREPROCESSED)) >= 10)


def test_long_work_does_not_cost_the_partitions(world, publish, running, events, monkeypatch):
    """A batch that takes longer than `max.poll.interval.ms` allows, here the least that it may be."""
    quick = clients.member_config
    monkeypatch.setattr(clients, "member_config", lambda *names: quick(*names) | {"max.poll.interval.ms": 6_000})
    monkeypatch.setattr(attendant, "GRACE_SECONDS", 1.0)
    stage, attended = Copy(), threading.Event()
    seconds = 8.0 if isinstance(world.clients, KafkaClients) else 1.5
    stage.hook = lambda batch: attended.wait(seconds)
    publish(range(4))
    running(stage, lambda: len(events(PREPROCESSED)) >= 4)
    assert stage.seen == 4, "no batch was worked on twice"
    assert len(events(PREPROCESSED)) == 4


def test_what_is_taken_away_during_work_leaves_the_batch(world, publish, events, monkeypatch):
    """Another instance comes while a batch is worked on: the work goes on, and nothing is done twice."""
    monkeypatch.setattr(attendant, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(attendant, "TICK_SECONDS", 0.1)
    publish(range(20))
    slow, quick, begun, shared = Copy(), Copy(), threading.Event(), threading.Event()

    def hook(batch) -> None:
        begun.set()
        shared.wait(30)

    slow.hook = hook
    with world.running(runner(world, slow, limits=BatchLimits(seconds=1.0))) as until:
        assert begun.wait(30)
        with world.running(runner(world, quick, ordinal=1)):
            until(lambda: quick.seen > 0)
            shared.set()
            until(lambda: len(events(PREPROCESSED)) >= 20)
    images = {item.at for item in world.read(world.pin(IMAGES))}
    sources = Counter(Coordinates(e.source.topic, e.source.partition, e.source.offset) for e in events(PREPROCESSED))
    assert sources == dict.fromkeys(images, 1)


def test_a_trace_goes_on_from_record_to_record(world, image, running, events):
    trace = TraceContext.begin()
    with world.publisher() as publisher:
        publisher.publish([Fact(IMAGES, image(1), trace)])
    running(Copy(), lambda: len(events(PREPROCESSED)) >= 1)
    (source,), (result,) = world.read(world.pin(IMAGES)), world.read(world.pin(PREPROCESSED))
    assert source.trace == trace
    assert result.trace.trace_id == trace.trace_id
    assert result.trace.span_id != trace.span_id
