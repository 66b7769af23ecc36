"""A reader gets to the end that was true when it asked: on Kafka, and on its twin."""

import threading

import pytest

from radiolog.log.errors import LogError
from radiolog.log.tail import Batch, End, Tail, behind, overtaken, resumed
from schemas.topics import IMAGES


@pytest.fixture
def tail(world):
    made = Tail(world.settings, IMAGES, world.codec, world.clients)
    yield made
    made.close()


@pytest.fixture
def publish(world, image):
    return lambda numbers: world.publish(IMAGES, [image(number) for number in numbers])


@pytest.fixture
def producer(world):
    made = world.clients.transactional_producer(f"{world.settings.app}-test")
    made.init_transactions(30)
    return made


def begin(producer, world, event) -> None:
    """A transaction that holds one record, and stays open."""
    producer.begin_transaction()
    producer.produce(world.name(IMAGES), world.codec.encode(IMAGES, event), event.key)
    assert producer.flush(30) == 0


def collected(tail, start, end, stop=None) -> tuple[list[int], dict[int, int]]:
    """The numbers of the images, and where to go on."""
    numbers, next_ = [], dict(start)
    for batch in tail.read(start, end.next, stop or threading.Event()):
        assert isinstance(batch, Batch)
        numbers += [int.from_bytes(item.event.received_sha256, "big") for item in batch.events]
        next_ |= batch.next
    return sorted(numbers), next_


def test_it_goes_on_where_it_was(tail, publish):
    publish(range(10))
    end = tail.end()
    found, stands = collected(tail, resumed({}, end), end)
    assert found == list(range(10))
    assert stands == end.next
    assert collected(tail, resumed(stands, end), end)[0] == []
    publish(range(10, 13))
    later = tail.end()
    assert behind(stands, later) == 3
    assert collected(tail, resumed(stands, later), later)[0] == [10, 11, 12]


def test_what_stands_behind_an_open_transaction_is_waited_for(tail, world, producer, publish, image):
    """Acknowledged, and yet no reader sees it: it must not be taken for missing."""
    begin(producer, world, image(1))
    publish([6])  # of the same study, so behind it
    end = tail.end()
    assert sum(end.next.values()) == 2
    ending = threading.Timer(0.5, producer.abort_transaction, (30,))
    ending.start()
    found, stands = collected(tail, resumed({}, end), end)
    ending.join()
    assert found == [6]
    assert all(stands[number] >= offset for number, offset in end.next.items())


def test_markers_at_the_end_are_no_obstacle(tail, world, producer, image):
    begin(producer, world, image(1))
    producer.commit_transaction(30)
    end = tail.end()
    found, stands = collected(tail, resumed({}, end), end)
    assert found == [1]
    assert stands == end.next


def test_what_is_no_event_is_passed_over(tail, world, publish):
    publish([1])
    world.publish_raw(IMAGES, b"no event")
    publish([2])
    end = tail.end()
    assert collected(tail, resumed({}, end), end) == ([1, 2], end.next)


def test_a_stop_ends_it(tail, publish):
    publish(range(3))
    end, stop = tail.end(), threading.Event()
    stop.set()
    assert collected(tail, resumed({}, end), end, stop)[0] == []


def test_no_such_topic(world):
    elsewhere = world.settings.model_copy(update={"topic_prefix": "nowhere."})
    tail = Tail(elsewhere, IMAGES, world.codec, world.clients)
    with pytest.raises(LogError):
        tail.end()
    tail.close()


def test_the_cluster_is_told_by_its_name(tail, world):
    other = Tail(world.settings, IMAGES, world.codec, world.clients)
    assert tail.end().cluster == other.end().cluster not in ("", "None")
    other.close()


def test_offsets_of_another_topic_are_known_by_their_size():
    end = End("c", {0: 5, 1: 0}, {0: 10, 1: 0})
    assert not overtaken({0: 10, 1: 0}, end)
    assert overtaken({0: 11}, end)
    assert overtaken({2: 1}, end), "a partition that is not there"
    assert resumed({0: 3, 1: 0}, end) == {0: 5, 1: 0}, "retention has cut it"
    assert resumed({}, end) == {0: 5, 1: 0}
    assert behind({0: 7}, end) == 3
