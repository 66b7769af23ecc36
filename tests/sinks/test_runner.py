"""The sink runner between a real log and stores that fail, lag and compete."""

import threading
from collections.abc import Mapping, Sequence

import pytest

from radiolog.health import Health
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.sink import Advance, PositionMoved, SinkRunner, SinkUnavailable, Unstorable
from schemas.events import DeadLetter, Event
from schemas.topics import DIAGNOSES
from sinks.postgres import PostgresSink
from sinks.queries import Database


class ListSink:
    """A store in memory with the whole contract: positions are checked, both or neither is kept."""

    name = "list"
    topics = (DIAGNOSES,)

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.at: dict[tuple[str, int], int] = {}
        self.failures: list[Exception] = []

    def positions(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return {place: self.at.setdefault(place, 0) for place in partitions}

    def store(self, events: Sequence[Event], advances: Mapping[tuple[str, int], Advance]) -> None:
        if self.failures:
            raise self.failures.pop()
        if any(self.at[place] != advance.expected for place, advance in advances.items()):
            raise PositionMoved
        self.events += events
        self.at |= {place: advance.next for place, advance in advances.items()}


@pytest.fixture
def publish(site, site_codec, diagnosis):
    def send(numbers) -> None:
        with KafkaPublisher(site, site_codec) as publisher:
            publisher.publish([Fact(DIAGNOSES, diagnosis(n, study_uid=f"2.25.{n}")) for n in numbers])

    return send


@pytest.fixture
def run(site, site_codec):
    """Runs a sink until `enough` says so."""

    def until(sink, enough) -> None:
        stop, poll = threading.Event(), threading.Event()
        thread = threading.Thread(target=SinkRunner(sink, site, site_codec).run, args=(stop, Health()))
        thread.start()
        try:
            for _ in range(300):
                if enough():
                    return
                poll.wait(0.1)
            pytest.fail("it was never enough")
        finally:
            stop.set()
            thread.join(60)

    return until


def test_every_event_once_and_a_restart_goes_on(run, publish):
    sink = ListSink()
    publish(range(30))
    run(sink, lambda: len(sink.events) >= 30)
    publish(range(30, 40))
    run(sink, lambda: len(sink.events) >= 40)
    assert sorted(event.image.offset for event in sink.events) == list(range(40))


def test_a_failing_store_gets_the_batch_again(run, publish):
    sink = ListSink()
    sink.failures = [SinkUnavailable("down", retry_after=0.01), PositionMoved()]
    publish(range(10))
    run(sink, lambda: len(sink.events) >= 10)
    assert len(sink.events) == 10


def test_a_store_that_forgot_is_filled_again(run, publish):
    """Positions live in the store: restored from an old backup, it gets what it lost."""
    sink = ListSink()
    publish(range(10))
    run(sink, lambda: len(sink.events) >= 10)
    restored = ListSink()
    run(restored, lambda: len(restored.events) >= 10)
    assert {event.event_id for event in restored.events} == {event.event_id for event in sink.events}


def test_a_record_that_is_no_event_is_kept_as_a_dead_letter(site, run, publish):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": site.bootstrap_servers})
    producer.produce(DIAGNOSES.full_name(site.topic_prefix), b"no event")
    assert producer.flush(30) == 0
    sink = ListSink()
    publish(range(3))
    run(sink, lambda: len(sink.events) >= 4)
    (letter,) = [event for event in sink.events if isinstance(event, DeadLetter)]
    assert (letter.stage, letter.error_class) == ("list", "not_confluent_format")


def test_an_event_that_the_store_refuses_is_found_and_kept_as_a_dead_letter(run, publish, diagnosis):
    class Picky(ListSink):
        def store(self, events, advances) -> None:
            if any(
                getattr(event, "study_uid", None) == "2.25.4" and not isinstance(event, DeadLetter) for event in events
            ):
                raise Unstorable("a value does not fit")
            super().store(events, advances)

    sink = Picky()
    publish(range(10))
    run(sink, lambda: len(sink.events) >= 10)
    (letter,) = [event for event in sink.events if isinstance(event, DeadLetter)]
    assert (letter.error_class, letter.image_event_id) == ("unstorable", diagnosis(4).image.event_id)
    assert len(sink.events) == 10


def test_a_letter_that_cannot_be_stored_either_is_kept_by_its_coordinates(run, publish):
    class Pickier(ListSink):
        def store(self, events, advances) -> None:
            if any(getattr(event, "study_uid", None) == "2.25.4" for event in events):
                raise Unstorable("a value does not fit")
            super().store(events, advances)

    sink = Pickier()
    publish(range(10))
    run(sink, lambda: len(sink.events) >= 10)
    (letter,) = [event for event in sink.events if isinstance(event, DeadLetter)]
    assert (letter.error_class, letter.study_uid, letter.topic[-9:]) == ("unstorable", None, "diagnoses")


def test_a_stop_while_the_store_is_down_is_orderly(site, site_codec, publish):
    class Down(ListSink):
        def positions(self, partitions):
            raise SinkUnavailable("down", retry_after=0.05)

    publish(range(3))
    stop, failures = threading.Event(), []

    def target() -> None:
        try:
            SinkRunner(Down(), site, site_codec).run(stop, Health())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    threading.Timer(5.0, stop.set).start()
    thread.join(60)
    assert not thread.is_alive()
    assert not failures


def test_into_postgres(site, run, publish, diagnosis):
    publish(range(20))
    images = [diagnosis(number).image.event_id for number in range(20)]
    url = site.database_url.get_secret_value()
    with PostgresSink(url) as sink, Database(url) as database:
        run(sink, lambda: len(database.diagnoses(images)) >= 20)
        assert sorted(row.image_event_id for row in database.diagnoses(images)) == sorted(images)
