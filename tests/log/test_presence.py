"""A process with nothing to do tells all the same that the log has gone, and that it is back."""

import threading
import time
from contextlib import closing

import pytest
from confluent_kafka import KafkaError, KafkaException

from radiolog.health import Health
from radiolog.log import presence
from radiolog.log.memory import MemoryLog
from radiolog.log.presence import EVERY_SECONDS, GONE, LOST_SECONDS, Presence
from radiolog.log.publisher import KafkaPublisher
from radiolog.log.runtime import StageRunner
from radiolog.log.sink import SinkRunner
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.registry import MemoryRegistry
from schemas.topics import IMAGES, TOPICS


class Log:
    """Answers, unless it is down."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False

    def __call__(self, call: object = None) -> None:
        if call == "list_topics" or isinstance(call, float):
            self.asked += 1
            if self.down:
                self.refuse()

    @staticmethod
    def refuse(*_: object, timeout: float = 0) -> None:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT, "down"))


class Nothing:
    """A stage and a sink that nothing comes to."""

    name = "nothing"
    source = IMAGES
    topics = (IMAGES,)

    def process(self, batch):
        raise AssertionError

    def positions(self, partitions):
        return dict.fromkeys(partitions, 0)

    def store(self, events, advances):
        raise AssertionError


@pytest.fixture
def memory(monkeypatch):
    """A log in memory, which idle processes ask all the time."""
    monkeypatch.setattr(presence, "EVERY_SECONDS", 0.0)
    made = MemoryLog(patience=0.01)
    made.interfere = Log()
    for topic in TOPICS:
        made.create(topic.full_name("t."), 1)
    return made


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(state_dir=tmp_path, topic_prefix="t.", app="t")


def test_it_asks_now_and_then_while_the_log_is_there_and_always_while_it_is_not():
    log, health, now = Log(), Health(), [0.0]
    watch = Presence(log, health, lambda: now[0])
    health.ready()
    for _ in range(100):
        watch.look()
    assert log.asked == 0
    now[0] += EVERY_SECONDS
    watch.look()
    watch.look()
    assert (log.asked, health.obstacle) == (1, None)
    log.down = True
    now[0] += EVERY_SECONDS
    for _ in range(3):
        watch.look()
        assert health.obstacle == GONE
    assert log.asked == 4
    log.down = False
    watch.look()
    assert health.obstacle is None


def test_it_never_says_ready_for_a_process_that_was_not():
    log, health, now = Log(), Health(), [0.0]
    watch = Presence(log, health, lambda: now[0])
    now[0] += EVERY_SECONDS
    watch.look()
    watch.proven()
    assert (log.asked, health.obstacle) == (1, "starting")


def test_what_the_process_lacked_before_it_lacks_still():
    log, health, now = Log(), Health(), [0.0]
    watch = Presence(log, health, lambda: now[0])
    log.down = True
    now[0] += EVERY_SECONDS
    watch.look()
    assert health.obstacle == GONE
    watch.proven()
    assert health.obstacle == "starting"
    now[0] += EVERY_SECONDS
    watch.look()
    health.ready()  # it has what it lacked
    watch.look()
    watch.proven()
    assert health.obstacle is None


def test_work_that_went_through_proves_it():
    log, health, now = Log(), Health(), [0.0]
    watch = Presence(log, health, lambda: now[0])
    health.ready()
    log.down = True
    now[0] += EVERY_SECONDS
    watch.look()
    watch.proven()
    assert health.obstacle is None


@pytest.mark.parametrize("kind", [StageRunner, SinkRunner])
def test_an_idle_member_tells(kind, memory, settings):
    health = Health()
    runner = kind(Nothing(), settings, Codec(MemoryRegistry(), "t."), clients=memory)
    with closing(runner.join(threading.Event(), health)) as member:
        member.round()
        assert health.obstacle is None
        memory.interfere.down = True
        member.round()
        assert health.obstacle == GONE
        memory.interfere.down = False
        member.round()
        assert health.obstacle is None


def test_a_publisher_tells(memory, settings):
    health = Health()
    with KafkaPublisher(settings, Codec(MemoryRegistry(), "t."), memory, health=health):
        health.ready()
        memory.interfere.down = True
        await_obstacle(health, GONE)
        memory.interfere.down = False
        await_obstacle(health, None)


def test_a_client_is_lost_when_the_log_has_been_gone_for_long():
    log, now = Log(), [0.0]
    watch = Presence(log, Health(), lambda: now[0])
    now[0] += LOST_SECONDS + EVERY_SECONDS
    watch.look()
    assert not watch.is_lost
    log.down = True
    now[0] += EVERY_SECONDS
    watch.look()
    now[0] += LOST_SECONDS
    assert not watch.is_lost
    now[0] += 1
    assert watch.is_lost
    watch.begin_anew()
    assert not watch.is_lost
    now[0] += LOST_SECONDS + 1
    assert watch.is_lost
    watch.proven()
    assert not watch.is_lost


class DeafOnes:
    """Clients of a log, of which the first hears nothing any more, as librdkafka's do at times; the log is there."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.made = 0

    def __getattr__(self, name: str):
        make = getattr(self._log, name)

        def made(*arguments, **named):
            self.made += name != "transactional_producer"
            client = make(*arguments, **named)
            if self.made == 1 and name != "transactional_producer":
                client.list_topics = Log.refuse
            return client

        return made


@pytest.mark.parametrize("kind", [StageRunner, SinkRunner])
def test_a_deaf_client_is_replaced(kind, memory, settings, monkeypatch):
    monkeypatch.setattr(presence, "LOST_SECONDS", 0.05)
    clients, health, stop = DeafOnes(memory), Health(), threading.Event()
    runner = kind(Nothing(), settings, Codec(MemoryRegistry(), "t."), clients=clients)
    thread = threading.Thread(target=runner.run, args=(stop, health))
    thread.start()
    try:
        await_that(lambda: clients.made == 2 and health.obstacle is None)
    finally:
        stop.set()
        thread.join()
    assert clients.made == 2, "one that hears is kept"


def test_a_deaf_producer_is_replaced(memory, settings, monkeypatch):
    monkeypatch.setattr(presence, "LOST_SECONDS", 0.05)
    clients, health = DeafOnes(memory), Health()
    with KafkaPublisher(settings, Codec(MemoryRegistry(), "t."), clients, health=health):
        health.ready()
        await_that(lambda: clients.made == 2 and health.obstacle is None)


def await_obstacle(health: Health, wanted: str | None) -> None:
    await_that(lambda: health.obstacle == wanted)


def await_that(condition) -> None:
    deadline, poll = time.monotonic() + 20, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        poll.wait(0.01)
