"""A member whose client brings nothing while records wait gets another; one that has nothing to do keeps its own."""

import itertools
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from radiolog.health import Health
from radiolog.log import silence
from radiolog.log.batching import Place
from radiolog.log.errors import LogUnavailable
from radiolog.log.lag import PartitionLag
from radiolog.log.presence import EVERY_SECONDS as PRESENCE_SECONDS
from radiolog.log.presence import Presence
from radiolog.log.publisher import Fact
from radiolog.log.runtime import StageRunner
from radiolog.log.silence import EVERY_SECONDS, Silence
from radiolog.log.sink import SinkRunner, SinkUnavailable
from radiolog.log.stage import Emit
from schemas.topics import DIAGNOSES, IMAGES, PREPROCESSED
from tests.derived import preprocessed


def lag(partition: int, following: int | None, waiting: int = 1) -> PartitionLag:
    return PartitionLag("t", partition, following, 100, waiting)


class Scene:
    """A member and its client, which reads partitions 0 and 1."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lags: list[PartitionLag] = []
        self.assigned = [TopicPartition("t", number) for number in (0, 1)]
        self.down = False
        self.presence = Presence(self._ask, Health(), lambda: self.now)
        consumer = SimpleNamespace(assignment=lambda: self.assigned)
        self.silence = Silence(self.presence, consumer, self._told, lambda: self.now)

    def _ask(self, seconds: float) -> None:
        if self.down:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT, "down"))

    def _told(self) -> list[PartitionLag]:
        if self.lags is None:
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
    scene._told = scene.silence._lags = lambda: (_ for _ in ()).throw(LogUnavailable("down"))
    assert not scene.look()
    scene.silence._lags = lambda: [lag(0, 7)]
    assert not scene.look()
    assert scene.look()


class Clients:
    """Clients of a log; the first `deaf` members of the group in question bring nothing."""

    def __init__(self, clients, group: str, deaf: int) -> None:
        self._clients = clients
        self._group = group
        self._deaf = deaf
        self.members = 0

    def __getattr__(self, name: str):
        return getattr(self._clients, name)

    def member(self, group: str, instance: str):
        consumer = self._clients.member(group, instance)
        if group != self._group or instance.endswith("lag"):
            return consumer
        self.members += 1
        return Deaf(consumer) if self.members <= self._deaf else consumer


class Deaf:
    """A client in its group that brings nothing."""

    def __init__(self, consumer) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str):
        return getattr(self._consumer, name)

    def poll(self, timeout: float = -1) -> None:
        self._consumer.poll(timeout)


class Copy:
    name = "copy"
    source = IMAGES

    def process(self, batch):
        return [Emit((Fact(PREPROCESSED, preprocessed(item)),)) for item in batch]


class Watch:
    """A stage that reads what another has written in transactions."""

    name = "watch"
    source = PREPROCESSED

    def __init__(self) -> None:
        self.seen = 0

    def process(self, batch):
        self.seen += len(batch)
        return [Emit(()) for _ in batch]


class Shelf:
    """A sink in memory."""

    name = "shelf"
    topics = (PREPROCESSED, DIAGNOSES)

    def __init__(self) -> None:
        self.seen = 0
        self.at: dict[Place, int] = {}
        self.answers = itertools.repeat(True)

    def positions(self, partitions: Sequence[Place]) -> dict[Place, int]:
        if not next(self.answers):
            raise SinkUnavailable("away", retry_after=0.01)
        return {where: self.at.get(where, 0) for where in partitions}

    def store(self, events, advances) -> None:
        self.seen += len(events)
        self.at |= {where: advance.next for where, advance in advances.items()}


@pytest.fixture
def often(monkeypatch):
    """Counts the looks, which come ten times a second."""
    looks = []
    monkeypatch.setattr(silence, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(Silence, "_waits", lambda self, ask=Silence._waits: looks.append(1) or ask(self))
    return looks


@pytest.fixture
def written(world, image):
    """Forty events on PREPROCESSED, in transactions, so that markers come last."""
    world.publish(IMAGES, [image(number) for number in range(40)])
    with world.running(StageRunner(Copy(), world.settings, world.codec, clients=world.clients)) as until:
        until(lambda: len(world.events(PREPROCESSED)) == 40)


@pytest.mark.parametrize(("kind", "reader"), [(StageRunner, Watch), (SinkRunner, Shelf)])
def test_a_client_that_brings_nothing_is_replaced(kind, reader, world, often, written):
    clients = Clients(world.clients, f"{world.settings.app}-{reader.name}", deaf=1)
    mine = reader()
    with world.running(kind(mine, world.settings, world.codec, clients=clients)) as until:
        until(lambda: mine.seen == 40)
        often.clear()
        until(lambda: len(often) > 5)
    assert mine.seen == 40
    assert clients.members == 2, "one that hears is kept"


@pytest.mark.parametrize(("kind", "reader"), [(StageRunner, Watch), (SinkRunner, Shelf)])
def test_one_that_has_brought_all_is_kept(kind, reader, world, often, written):
    clients = Clients(world.clients, f"{world.settings.app}-{reader.name}", deaf=0)
    mine = reader()
    with world.running(kind(mine, world.settings, world.codec, clients=clients)) as until:
        until(lambda: mine.seen == 40)
        often.clear()
        until(lambda: len(often) > 5)
    assert clients.members == 1


def test_a_store_that_does_not_answer_tells_of_nothing(twin, image, often):
    shelf = Shelf()
    shelf.answers = itertools.chain([True], itertools.repeat(False))  # once, as it takes its partitions on
    clients = Clients(twin.clients, f"{twin.settings.app}-shelf", deaf=1)
    twin.publish(PREPROCESSED, [])
    with twin.running(SinkRunner(shelf, twin.settings, twin.codec, clients=clients)) as until:
        until(lambda: len(often) > 5)
    assert clients.members == 1
