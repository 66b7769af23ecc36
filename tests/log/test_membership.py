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
from schemas.topics import IMAGES
from tests.log.stand_ins import Count, Members, Wrapped


class Fenceable(Wrapped):
    """A client that, once told to, takes itself for fenced: it gives up its partitions and is of no use any more."""

    def __init__(self, consumer) -> None:
        super().__init__(consumer)
        self.fenced = threading.Event()

    def poll(self, timeout: float = -1):
        if not self.fenced.is_set():
            return self._wrapped.poll(timeout)
        cause = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
        return Message(error=KafkaError(KafkaError._FATAL, f"Fatal error: {cause}", True))

    def memberid(self) -> str:
        return "" if self.fenced.is_set() else self._wrapped.memberid()


def fenceable(world) -> Members:
    return Members(world.clients, lambda consumer, _: Fenceable(consumer))


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
    clients, mine = fenceable(world), Count(IMAGES)
    with world.running(kind(mine, world.settings, world.codec, clients=clients)) as until:
        world.publish(IMAGES, [image(number) for number in range(10)])
        until(lambda: mine.seen == 10)
        clients.members[0].fenced.set()
        world.publish(IMAGES, [image(number) for number in range(10, 20)])
        until(lambda: mine.seen >= 20)
    assert (len(clients.members), mine.seen) == (2, 20)


def test_a_member_whose_name_another_bears_stops(kind, world, image):
    clients, mine = fenceable(world), Count(IMAGES)
    world.publish(IMAGES, [image(1)])
    seat = Seat.of(Count.name, 0, world.settings.app)
    with closing(world.clients.member(seat.group, seat.instance)) as other:

        def displace() -> None:
            other.subscribe([world.name(IMAGES)])
            world.until(lambda: other.poll(0.05) or other.assignment())

        assert_stops(world, kind(mine, world.settings, world.codec, clients=clients), mine, clients, displace)
    assert len(clients.members) == 1


def test_a_member_stops_where_the_group_does_not_tell(kind, twin, image):
    clients, mine = fenceable(twin), Count(IMAGES)

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
