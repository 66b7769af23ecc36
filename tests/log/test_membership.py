"""A member that the group has given up joins anew; one whose name another bears stops."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from confluent_kafka import KafkaError, Message

from radiolog.health import Health
from radiolog.log.errors import LogUnavailable, MemberFenced
from radiolog.log.membership import Seat
from radiolog.log.runtime import StageRunner
from radiolog.log.sink import SinkRunner
from radiolog.log.stage import Emit
from schemas.topics import IMAGES


class Given:
    """A stage and a sink that only count."""

    name = "given"
    source = IMAGES
    topics = (IMAGES,)

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.at: dict[tuple[str, int], int] = {}

    def process(self, batch):
        self.seen += [item.at.offset for item in batch]
        return [Emit(())] * len(batch)

    def positions(self, partitions):
        return {where: self.at.get(where, 0) for where in partitions}

    def store(self, events, advances):
        self.seen += [0] * len(events)
        self.at |= {where: advance.next for where, advance in advances.items()}


class Clients:
    """Clients of a log, whose members say at times that another has fenced them."""

    def __init__(self, clients) -> None:
        self._clients = clients
        self.members: list[Fenceable] = []

    def __getattr__(self, name: str):
        return getattr(self._clients, name)

    def member(self, group: str, instance: str):
        consumer = self._clients.member(group, instance)
        if instance.endswith("lag"):
            return consumer
        self.members.append(Fenceable(consumer))
        return self.members[-1]


class Fenceable:
    """A client that, once told to, takes itself for fenced: it gives up its partitions and is of no use any more."""

    def __init__(self, consumer) -> None:
        self._consumer = consumer
        self.fenced = threading.Event()

    def __getattr__(self, name: str):
        return getattr(self._consumer, name)

    def poll(self, timeout: float = -1):
        if not self.fenced.is_set():
            return self._consumer.poll(timeout)
        cause = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
        return Message(error=KafkaError(KafkaError._FATAL, f"Fatal error: {cause}", True))

    def memberid(self) -> str:
        return "" if self.fenced.is_set() else self._consumer.memberid()


def assert_stops(world, runner, mine, clients, meanwhile) -> None:
    """That it runs, and once it is told to be fenced, ends with that error."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, stop, Health())
        try:
            world.until(lambda: mine.seen)
            meanwhile()
            clients.members[0].fenced.set()
            with pytest.raises(MemberFenced):
                running.result(60)
        finally:
            stop.set()


@pytest.fixture(params=[StageRunner, SinkRunner])
def kind(request):
    return request.param


def test_a_member_that_takes_itself_for_fenced_joins_anew(kind, world, image):
    clients, mine = Clients(world.clients), Given()
    with world.running(kind(mine, world.settings, world.codec, clients=clients)) as until:
        world.publish(IMAGES, [image(number) for number in range(10)])
        until(lambda: len(mine.seen) == 10)
        clients.members[0].fenced.set()
        world.publish(IMAGES, [image(number) for number in range(10, 20)])
        until(lambda: len(mine.seen) >= 20)
    assert (len(clients.members), len(mine.seen)) == (2, 20)


def test_a_member_whose_name_another_bears_stops(kind, world, image):
    clients, mine = Clients(world.clients), Given()
    world.publish(IMAGES, [image(1)])
    seat = Seat.of(Given.name, 0, world.settings.app)
    with closing(world.clients.member(seat.group, seat.instance)) as other:

        def displace() -> None:
            other.subscribe([world.name(IMAGES)])
            world.until(lambda: other.poll(0.05) or other.assignment())

        assert_stops(world, kind(mine, world.settings, world.codec, clients=clients), mine, clients, displace)
    assert len(clients.members) == 1


def test_a_member_stops_where_the_group_does_not_tell(kind, twin, image):
    clients, mine = Clients(twin.clients), Given()

    def away(group: str, instance: str) -> str:
        raise LogUnavailable("away")

    clients.holder = away
    twin.publish(IMAGES, [image(1)])
    assert_stops(twin, kind(mine, twin.settings, twin.codec, clients=clients), mine, clients, lambda: None)


def test_the_group_knows_its_members_by_name(world):
    seat = Seat.of("named", 0, world.settings.app)
    assert world.clients.holder(seat.group, seat.instance) == ""
    with closing(world.clients.member(seat.group, seat.instance)) as member:
        assert not member.memberid()
        member.subscribe([world.name(IMAGES)])
        world.until(lambda: member.poll(0.05) or member.assignment())
        assert world.clients.holder(seat.group, seat.instance) == member.memberid() != ""
        assert world.clients.holder(seat.group, "another") == ""
    assert world.clients.holder(seat.group, seat.instance), "a static member's place is kept for its session"
