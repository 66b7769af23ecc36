"""A member whose client brings nothing while records wait gets another; one that has nothing to do keeps its own."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from radiolog.health import Health
from radiolog.log import silence
from radiolog.log.errors import LogUnavailable
from radiolog.log.lag import PartitionLag
from radiolog.log.presence import EVERY_SECONDS as PRESENCE_SECONDS
from radiolog.log.presence import Presence
from radiolog.log.runtime import StageRunner
from radiolog.log.silence import EVERY_SECONDS, Silence
from radiolog.log.sink import SinkRunner, SinkUnavailable
from schemas.topics import DIAGNOSES, IMAGES, PREPROCESSED
from tests.log.stand_ins import Copy, Count, Members, Wrapped


def lag(partition: int, following: int | None, waiting: int = 1) -> PartitionLag:
    return PartitionLag("t", partition, following, 100, waiting)


class Scene:
    """A member and its client, which reads partitions 0 and 1."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lags: list[PartitionLag] = []
        self.assigned = [TopicPartition("t", number) for number in (0, 1)]
        self.down = self.mute = False
        self.presence = Presence(self._ask, Health(), lambda: self.now)
        consumer = SimpleNamespace(assignment=lambda: self.assigned)
        self.silence = Silence(self.presence, consumer, self._told, lambda: self.now)

    def _ask(self, seconds: float) -> None:
        if self.down:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "down"))

    def _told(self) -> list[PartitionLag]:
        if self.mute:
            raise LogUnavailable("down")
        return self.lags

    def look(self, *lags: PartitionLag, after: float = EVERY_SECONDS) -> bool:
        self.now += after
        self.lags = list(lags)
        self.presence.look()
        self.silence.look()
        return self.silence.is_deaf


def test_a_record_that_waits_twice_is_not_brought():
    scene = Scene()
    assert not scene.look(lag(0, 7), lag(1, 3, waiting=0))
    assert scene.look(lag(0, 7, waiting=5), lag(1, 3, waiting=0))


def test_one_that_nothing_was_ever_brought_of():
    scene = Scene()
    assert not scene.look(lag(1, None))
    assert scene.look(lag(1, None))


def test_what_is_settled_meanwhile_was_brought():
    scene = Scene()
    assert not any(scene.look(lag(0, offset, waiting=20)) for offset in range(10))


def test_it_asks_only_now_and_then():
    scene = Scene()
    assert not scene.look(lag(0, 7))
    assert not scene.look(lag(0, 7), after=EVERY_SECONDS / 2)
    assert scene.look(lag(0, 7), after=EVERY_SECONDS / 2)


def test_what_others_read_is_theirs():
    scene = Scene()
    assert not any(scene.look(lag(2, 7)) for _ in range(3))


def test_a_member_that_reads_nothing_may_be_the_one_that_should():
    scene = Scene()
    scene.assigned = []
    assert not scene.look(lag(2, 7))
    assert scene.look(lag(2, 7))


def test_nothing_is_held_against_it_while_the_log_is_away():
    scene = Scene()
    assert not scene.look(lag(0, 7))
    scene.down = True
    assert not scene.look(lag(0, 7))
    scene.down = False
    assert not scene.look(lag(0, 7), after=PRESENCE_SECONDS)
    assert not scene.look(lag(0, 7))
    assert scene.look(lag(0, 7))


def test_a_log_that_does_not_tell():
    scene = Scene()
    assert not scene.look(lag(0, 7))
    scene.mute = True
    assert not scene.look(lag(0, 7))
    scene.mute = False
    assert not scene.look(lag(0, 7))
    assert scene.look(lag(0, 7))


class Deaf(Wrapped):
    """A client in its group that brings nothing."""

    def poll(self, timeout: float = -1) -> None:
        self._wrapped.poll(timeout)


def clients_of(world, deaf: int) -> Members:
    """Those of the log; the first `deaf` members bring nothing."""
    return Members(world.clients, lambda consumer, before: Deaf(consumer) if before < deaf else consumer)


class Hidden(Count):
    """A store that answers once, as the sink takes its partitions on, and never again."""

    def __init__(self, topic) -> None:
        super().__init__(topic)
        self.asked = 0

    def positions(self, partitions):
        self.asked += 1
        if self.asked > 1:
            raise SinkUnavailable("away", retry_after=0.01)
        return super().positions(partitions)


@pytest.fixture
def often(monkeypatch):
    """Counts the looks, which come ten times a second."""
    looks = []
    monkeypatch.setattr(silence, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(Silence, "_waits", lambda self, ask=Silence._waits: looks.append(1) or ask(self))
    return looks


def write(world, image) -> None:
    """Forty events on PREPROCESSED, in transactions, so that markers come last."""
    world.publish(IMAGES, [image(number) for number in range(40)])
    with world.running(StageRunner(Copy(), world.settings, world.codec, clients=world.clients)) as until:
        until(lambda: len(world.events(PREPROCESSED)) == 40)


@pytest.mark.parametrize("kind", [StageRunner, SinkRunner])
@pytest.mark.parametrize("deaf", [0, 1])
def test_a_client_that_brings_nothing_is_replaced_and_one_that_has_brought_all_is_kept(kind, deaf, world, image, often):
    write(world, image)
    clients, mine = clients_of(world, deaf), Count(PREPROCESSED, DIAGNOSES)
    with world.running(kind(mine, world.settings, world.codec, clients=clients)) as until:
        until(lambda: mine.seen == 40)
        often.clear()
        until(lambda: len(often) > 5)
    assert mine.seen == 40
    assert len(clients.members) == deaf + 1


def test_a_store_that_does_not_answer_tells_of_nothing(twin, image, often):
    write(twin, image)
    clients, hidden = clients_of(twin, deaf=1), Hidden(PREPROCESSED)
    with twin.running(SinkRunner(hidden, twin.settings, twin.codec, clients=clients)) as until:
        until(lambda: len(often) > 5)
    assert hidden.asked > 5
    assert len(clients.members) == 1
