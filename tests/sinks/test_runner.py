"""The sink runner between a log (Kafka, and its twin) and stores that fail, lag and compete."""

import threading
from collections.abc import Mapping, Sequence

import pytest

from radiolog.health import Health
from radiolog.log.sink import Advance, PositionMoved, SinkRunner, SinkUnavailable, Unstorable
from schemas.events import DeadLetter, Event
from schemas.topics import DIAGNOSES, IDENTITIES
from sinks.postgres import FindingsSink, IdentitiesSink, PostgresSink
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
def publish(world, diagnosis):
    return lambda numbers: world.publish(DIAGNOSES, [diagnosis(n, study_uid=f"2.25.{n}") for n in numbers])


@pytest.fixture
def run(world):
    """Runs a sink until `enough` says so."""

    def until(sink, enough) -> None:
        with world.running(SinkRunner(sink, world.settings, world.codec, clients=world.clients)) as wait:
            wait(enough)

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


def test_a_record_that_is_no_event_is_kept_as_a_dead_letter(world, run, publish):
    world.publish_raw(DIAGNOSES, b"no event")
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


def test_a_stop_while_the_store_is_down_is_orderly(world, publish):
    class Down(ListSink):
        asked = 0

        def positions(self, partitions):
            self.asked += 1
            raise SinkUnavailable("down", retry_after=0.05)

    publish(range(3))
    sink, stop, health = Down(), threading.Event(), Health()
    runner = SinkRunner(sink, world.settings, world.codec, clients=world.clients)
    thread = threading.Thread(target=runner.run, args=(stop, health))
    thread.start()
    world.until(lambda: sink.asked > 3)
    assert health.obstacle == "the store does not answer"
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_two_instances_share_the_work(world, publish):
    sink = ListSink()
    runners = [SinkRunner(sink, world.settings, world.codec, ordinal=n, clients=world.clients) for n in range(2)]
    with world.running(runners[0]) as wait:
        publish(range(10))
        wait(lambda: len(sink.events) >= 10)
        with world.running(runners[1]) as both:
            publish(range(10, 40))
            both(lambda: len(sink.events) >= 40)
    assert sorted(event.image.offset for event in sink.events) == list(range(40))


def test_into_postgres(kafka, diagnosis):
    kafka.publish(DIAGNOSES, [diagnosis(number, study_uid=f"2.25.{number}") for number in range(20)])
    images = [diagnosis(number).image.event_id for number in range(20)]
    url = kafka.settings.database_url.get_secret_value()
    with PostgresSink(url) as sink, Database(url) as database:
        with kafka.running(SinkRunner(sink, kafka.settings, kafka.codec)) as wait:
            wait(lambda: len(database.diagnoses(images)) >= 20)
        assert sorted(row.image_event_id for row in database.diagnoses(images)) == sorted(images)


def test_two_sinks_go_on_where_one_kept_all(kafka, diagnosis, identity):
    """They read the log from its start, add no row, and the position that is told never goes back."""
    kafka.publish(DIAGNOSES, [diagnosis(number) for number in range(5)])
    kafka.publish(IDENTITIES, [identity("P-1", "Doe^Jane")])
    images = [diagnosis(number).image.event_id for number in range(10)]
    url = kafka.settings.database_url.get_secret_value()

    def runner(sink: PostgresSink) -> SinkRunner:
        return SinkRunner(sink, kafka.settings, kafka.codec)

    with (
        PostgresSink(url) as one,
        FindingsSink(url) as findings,
        IdentitiesSink(url) as names,
        Database(url) as database,
    ):
        with kafka.running(runner(one)) as wait:
            wait(lambda: len(database.diagnoses(images)) == 5 and database.identify("P-1"))
        told = database.positions()
        kafka.publish(DIAGNOSES, [diagnosis(number) for number in range(10)])
        kafka.publish(IDENTITIES, [identity("P-2", "Roe^Rick")])
        with kafka.running(runner(findings)) as wait, kafka.running(runner(names)):
            wait(lambda: len(database.diagnoses(images)) == 10 and database.identify("P-2"))
        assert all(database.positions()[place] >= offset for place, offset in told.items())
        assert database.counts() == {"diagnosis": 10, "dead_letter": 0}
        assert len(database.identify("4711")) == 2
