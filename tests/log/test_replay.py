"""Bounded reads end where they were pinned, whatever stands there: on Kafka, and on its twin."""

from datetime import UTC, datetime, timedelta

import pytest

from radiolog.log.errors import LogError
from radiolog.log.replay import RecordGone, Unreadable, fetch, pin
from schemas.topics import IMAGES


@pytest.fixture
def publish(world, image):
    return lambda numbers: world.publish(IMAGES, [image(number) for number in numbers])


@pytest.fixture
def transact(world, image):
    """Writes images in a transaction of its own, and ends it."""

    def run(numbers, commit: bool) -> None:
        producer = world.clients.transactional_producer(f"{world.settings.app}-test")
        producer.init_transactions(30)
        producer.begin_transaction()
        for number in numbers:
            event = image(number)
            producer.produce(world.name(IMAGES), world.codec.encode(IMAGES, event), event.key)
        assert producer.flush(30) == 0
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    return run


@pytest.fixture
def numbers(world):
    """The numbers of the images in a slice."""
    return lambda wanted: sorted(int.from_bytes(item.event.received_sha256, "big") for item in world.read(wanted))


def test_an_empty_topic_has_nothing(world):
    assert world.read(world.pin(IMAGES)) == []


def test_what_comes_after_the_pin_is_not_read(world, publish, numbers):
    publish(range(10))
    pinned = world.pin(IMAGES)
    publish(range(10, 20))
    assert numbers(pinned) == list(range(10))


def test_the_same_slice_reads_the_same_twice(world, publish):
    publish(range(10))
    pinned = world.pin(IMAGES)
    by_place = [sorted(world.read(pinned), key=lambda item: (item.at.partition, item.at.offset)) for _ in range(2)]
    assert by_place[0] == by_place[1]
    assert len(by_place[0]) == 10


@pytest.mark.timeout(60)
def test_a_slice_that_ends_with_transaction_markers_ends(world, transact, numbers):
    transact(range(6), commit=True)
    assert numbers(world.pin(IMAGES)) == list(range(6))


@pytest.mark.timeout(60)
def test_aborted_records_are_not_read(world, transact, numbers):
    transact(range(6), commit=True)
    transact(range(6, 12), commit=False)
    assert numbers(world.pin(IMAGES)) == list(range(6))


def test_what_is_no_event_is_counted(world, publish):
    publish([1])
    world.publish_raw(IMAGES, b"no event")
    found = world.read(world.pin(IMAGES))
    assert [item.error_class for item in found if isinstance(item, Unreadable)] == ["not_confluent_format"]
    assert len(found) == 2


def test_one_event_by_its_coordinates(world, publish):
    publish(range(4))
    for item in world.read(world.pin(IMAGES)):
        found = fetch(world.settings, world.codec, IMAGES, item.at.partition, item.at.offset, world.clients)
        assert found == item


def test_coordinates_that_hold_nothing(world, transact):
    transact([0], commit=True)
    (item,) = world.read(world.pin(IMAGES))
    with pytest.raises(RecordGone):
        fetch(world.settings, world.codec, IMAGES, item.at.partition, item.at.offset + 1, world.clients)


def test_a_slice_between_times_is_the_same_when_the_log_has_grown(world, publish, numbers):
    publish(range(4))
    since = _a_moment(world)
    publish(range(4, 10))
    until = _a_moment(world)
    publish(range(10, 14))
    pinned = pin(world.settings, IMAGES, world.clients, since, until)
    assert numbers(pinned) == list(range(4, 10))
    publish(range(14, 20))
    assert pin(world.settings, IMAGES, world.clients, since, until) == pinned
    assert numbers(pin(world.settings, IMAGES, world.clients, until=since)) == list(range(4))
    assert numbers(pin(world.settings, IMAGES, world.clients, since=datetime.now(UTC) + timedelta(hours=1))) == []


def _a_moment(world) -> datetime:
    """A time between what was written and what will be: the log's clock counts milliseconds."""
    before = datetime.now(UTC) + timedelta(milliseconds=1)
    world.until(lambda: datetime.now(UTC) > before + timedelta(milliseconds=1))
    return before


def test_a_topic_that_is_not_there(world):
    elsewhere = world.settings.model_copy(update={"topic_prefix": "nowhere."})
    with pytest.raises(LogError):
        pin(elsewhere, IMAGES, world.clients)
