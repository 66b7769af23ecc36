"""Lag from outside: what is known to wait is what is told."""

import threading

import pytest
from confluent_kafka import TopicPartition

from radiolog.log.errors import LogError, LogUnavailable
from radiolog.log.lag import LagReader
from radiolog.log.transactions import OutgoingRecord, Transactions
from schemas.topics import IMAGES, Topic


@pytest.fixture
def reader(world):
    with LagReader(world.settings, world.clients) as made:
        yield made


@pytest.fixture
def commit(world):
    """Commits offsets for a group, as a stage does, in a transaction of its own."""

    def work(group: str, offsets: dict[int, int]) -> None:
        producer = Transactions(lambda: world.clients.transactional_producer(f"{world.settings.app}-{group}-9"))
        member = world.clients.member(f"{world.settings.app}-{group}", f"{world.settings.app}-{group}-9")
        assigned = threading.Event()
        member.subscribe([world.name(IMAGES)], on_assign=lambda *_: assigned.set())
        while not assigned.is_set():
            member.poll(0.1)
        wanted = [TopicPartition(world.name(IMAGES), number, offset) for number, offset in offsets.items()]
        producer.run([], wanted, member.consumer_group_metadata())
        producer.close()
        member.close()

    return work


def waiting(lags) -> dict[int, int]:
    return {lag.partition: lag.waiting for lag in lags}


def by_partition(world) -> dict[int, int]:
    pinned = world.pin(IMAGES)
    return dict(pinned.end)


def test_an_empty_topic(reader):
    assert waiting(reader.of_stage("copy", IMAGES)) == {0: 0, 1: 0}


def test_a_stage_that_has_not_begun_has_all_before_it(reader, world, image):
    world.publish(IMAGES, [image(number) for number in range(60)])
    lags = reader.of_stage("copy", IMAGES)
    assert waiting(lags) == by_partition(world)
    assert sum(waiting(lags).values()) == 60
    assert {lag.next for lag in lags} == {None}


def test_a_stage_has_what_its_group_has_not_committed(reader, world, image, commit):
    world.publish(IMAGES, [image(number) for number in range(60)])
    ends = by_partition(world)
    commit("copy", {0: 7, 1: ends[1]})
    lags = reader.of_stage("copy", IMAGES)
    assert waiting(lags) == {0: ends[0] - 7, 1: 0}
    assert {lag.partition: lag.next for lag in lags} == {0: 7, 1: ends[1]}
    assert waiting(reader.of_stage("another", IMAGES)) == ends


def test_a_few_records_are_told_from_the_markers_behind_transactions(reader, world, image):
    """Each of these transactions leaves a marker, which is an offset that no reader ever gets."""
    name = world.name(IMAGES)
    producer = Transactions(lambda: world.clients.transactional_producer("writer"))
    for number in range(3):
        producer.run([OutgoingRecord(name, "key", world.codec.encode(IMAGES, image(number)))])
    producer.close()
    (number,) = [number for number, end in by_partition(world).items() if end]
    last = max(item.at.offset for item in world.read(world.pin(IMAGES)))
    assert by_partition(world)[number] > last + 1, "there is a marker"
    assert waiting(reader.of_sink([IMAGES], lambda _: {(name, number): last + 1})) == {0: 0, 1: 0}
    assert waiting(reader.of_sink([IMAGES], lambda _: {(name, number): last}))[number] > 0
    assert waiting(reader.of_sink([IMAGES], lambda _: {}))[number] >= 3


def test_a_position_that_the_store_has_from_before_what_was_deleted(reader, world, image):
    """Positions beyond the end, as after a topic was made anew, are no negative lag."""
    world.publish(IMAGES, [image(1)])
    assert waiting(reader.of_sink([IMAGES], lambda _: {(world.name(IMAGES), number): 1000 for number in range(2)})) == {
        0: 0,
        1: 0,
    }


def test_a_topic_that_is_not_there(reader):
    with pytest.raises(LogError):
        reader.of_stage("copy", Topic("nowhere", IMAGES.event, IMAGES.schema))


def test_no_broker(tmp_path):
    from radiolog.settings import Settings

    with (
        LagReader(Settings(state_dir=tmp_path, bootstrap_servers="127.0.0.1:1")) as reader,
        pytest.raises(LogUnavailable),
    ):
        reader.of_stage("copy", IMAGES)
