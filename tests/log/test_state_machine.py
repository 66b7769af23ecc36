"""Any order of events, with an error or a death at any call: each record counts once (hypothesis, on the log's twin).

A run is a sequence of steps drawn by hypothesis: records are published; instances start, go round, are killed, lose
their membership, or are started twice. At any call to the log or the store the next step may bring an error, before or
after it took effect; or the instance's death; or a pause in which its membership ends and the others go on, after which
the zombie goes on as well; or a rebalance under its hands; or a commit that is on its way for long. Whatever happened,
who is left then finishes the work, and every record has one result and every result one row.
"""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from radiolog.health import Health
from radiolog.log.api import Consumer
from radiolog.log.attendant import attend
from radiolog.log.batching import BatchLimits, Place
from radiolog.log.errors import Fenced, LogRefused
from radiolog.log.memory import MemoryLog
from radiolog.log.publisher import Fact
from radiolog.log.replay import pin, read
from radiolog.log.runtime import StageMember, StageRunner
from radiolog.log.sink import Advance, PositionMoved, SinkMember, SinkRunner, SinkUnavailable
from radiolog.log.stage import Emit, Outcome, Received, Reject, StageUnavailable
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event, ImageEvent, PreprocessedImage
from schemas.registry import MemoryRegistry
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED, TOPICS, Topic
from tests.derived import preprocessed

is_full = os.environ.get("RADIOLOG_FAULTS") == "full"
LIMITS = BatchLimits(events=3, seconds=0.0)
ORDINALS = (0, 1, 2)
ERRORS = {
    "no answer": KafkaError(KafkaError._TIMED_OUT, "injected", False, True),
    "abort": KafkaError(KafkaError.TRANSACTION_ABORTABLE, "injected", False, False, True),
    "again": KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "injected", False, True),
    "lost": KafkaError(KafkaError.REQUEST_TIMED_OUT, "injected"),
    "fatal": KafkaError(KafkaError._FATAL, "injected", True),
}

CALLS = [
    "init_transactions",
    "begin_transaction",
    "produce",
    "send_offsets_to_transaction",
    "commit_transaction",
    "abort_transaction",
    "committed",
    "store",
]
DISTURBANCES = ["death", "pause"]
FAULT = st.sampled_from(
    [
        *product([*CALLS, *(f"{call} done" for call in CALLS)], [*ERRORS, *DISTURBANCES]),
        *product(["process"], ["no answer", *DISTURBANCES]),
        *product(["poll"], DISTURBANCES),
    ]
)
"""Where, and what."""
RARE = {
    "while it works": [("process", "rebalance")],
    "while it works, for a moment": [("process", "guests")],
    "half-way through a batch": [("poll", "nothing"), ("poll", "newcomer"), ("process", "others")],
    "a commit on its way for long": [("commit_transaction", "late")],
}
MOST = 6
"""Instances at a time."""
LONGEST_FINISH = 100
"""Rounds after which the rest of the work must be done."""
PATIENCE = 5
"""Waits after which an open transaction has timed out."""


class Killed(BaseException):
    """SIGKILL: nothing catches it."""


class Clock(threading.Event):
    """Nobody waits here; who would, long enough, sees the transactions of the dead time out."""

    def __init__(self, time_out: Callable[[], None]) -> None:
        super().__init__()
        self._time_out = time_out
        self._waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self._waits += 1
        if self._waits % PATIENCE == 0:
            self._time_out()
        return self.is_set()


class Rows:
    """A store in memory; rows are kept in a list, so that one too many is seen."""

    name = "rows"
    topics: Sequence[Topic[Event]] = (PREPROCESSED, DEAD_LETTERS)

    def __init__(self, interfere) -> None:
        self.rows: list[Event] = []
        self.at: dict[Place, int] = {}
        self._interfere = interfere

    def positions(self, partitions: Sequence[Place]) -> Mapping[Place, int]:
        return {place: self.at.get(place, 0) for place in partitions}

    def store(self, events: Sequence[Event], advances: Mapping[Place, Advance]) -> None:
        self._guarded("store")
        if any(self.at.get(place, 0) != advance.expected for place, advance in advances.items()):
            raise PositionMoved
        self.rows.extend(events)
        self.at |= {place: advance.next for place, advance in advances.items()}
        self._guarded("store done")

    def _guarded(self, call: str) -> None:
        try:
            self._interfere(call)
        except KafkaException:
            raise SinkUnavailable("injected") from None


class Stage:
    """Emits, rejects, or raises, as the image's number says."""

    name = "copy"
    source = IMAGES

    def __init__(self, interfere) -> None:
        self._interfere = interfere

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        try:
            self._interfere("process")
        except KafkaException:
            raise StageUnavailable("injected", retry_after=0) from None
        return [self._one(item) for item in batch]

    def _one(self, item: Received[ImageEvent]) -> Outcome:
        number = item.event.received_bytes
        if number % 5 == 1:
            return Reject("odd", "it is")
        if number % 5 == 2:
            raise ValueError
        return Emit((Fact(PREPROCESSED, preprocessed(item)),))


Member = StageMember | SinkMember


def instance(ordinal: int, sink: bool) -> str:
    return f"t-{'rows' if sink else 'copy'}-{ordinal}"


class Clients:
    """The log's clients; the latest consumer of each instance is remembered."""

    def __init__(self, log: MemoryLog, consumers: dict[str, Consumer]) -> None:
        self._log = log
        self._consumers = consumers

    def member(self, group: str, instance: str) -> Consumer:
        self._consumers[instance] = self._log.member(group, instance)
        return self._consumers[instance]

    def __getattr__(self, name: str):
        return getattr(self._log, name)


class Log(RuleBasedStateMachine):
    """The log, two groups of instances, and what may happen to them."""

    make_image = None

    @initialize()
    def begin(self) -> None:
        self.settings = Settings(state_dir="unused", topic_prefix="t.", app="t")
        self.log = MemoryLog(patience=0.0)
        for topic in TOPICS:
            self.log.create(topic.full_name("t."), 3)
        self.codec = Codec(MemoryRegistry(), "t.")
        self.log.interfere = self.interfere
        self.store = Rows(self.interfere)
        self.members: list[tuple[str, Member]] = []
        self.published = 0
        self.armed: list[tuple[str, str]] = []
        self.late: Callable[[], None] | None = None
        self.consumers: dict[str, Consumer] = {}
        self.current: tuple[str, Member | None] = ("", None)
        self.busy: list[tuple[str, Member]] = []
        for ordinal, sink in ((0, False), (0, True), (1, False)):
            self.start(ordinal, sink)

    def interfere(self, call: str) -> None:
        """What may happen at any call, once: an error, a death, or something that the world does meanwhile."""
        if self.late is not None and call == "send_offsets_to_transaction":
            arrive, self.late = self.late, None
            arrive()
        what = next((what for where, what in self.armed if where == call), None)
        if what is None:
            return
        self.armed.remove((call, what))

        match what:
            case "death":
                raise Killed
            case "pause":
                self.evict_name(self.current[0])
                self.let_others_work()
            case "rebalance" | "guests":
                self.rebalance(stay=what == "rebalance")
            case "newcomer":
                armed, self.armed = self.armed, []
                self.let_one_come()
                self.let_others_work()
                self.armed = armed
            case "others":
                self.let_others_work()
            case "nothing":
                pass
            case "late":
                self.late = self.log.commit_on_its_way(self.current[0])
                raise KafkaException(ERRORS["no answer"])
            case _:
                raise KafkaException(ERRORS[what])

    def rebalance(self, stay: bool) -> None:
        """While the one whose call this is works, attended, others come and take some of its partitions."""
        before = list(self.members)
        for _ in range(2):
            self.let_one_come()
            self.let_others_work()
            looks = iter([False, False, True])
            attend(self.consumers[self.current[0]], lambda looks=looks: next(looks))
        self.let_others_work()
        for guest in [member for member in self.members if member not in before and not stay]:
            self.kill(guest)
            self.evict_name(guest[0])

    def let_one_come(self) -> None:
        names = [name for name, _ in self.members]
        sink = "rows" in self.current[0]
        free = [ordinal for ordinal in ORDINALS if instance(ordinal, sink) not in names]
        for ordinal in free[:1]:
            self.start(ordinal, sink)

    def let_others_work(self) -> None:
        """Those who are in the middle of a call stand still, the others do not."""
        for other in list(self.members):
            for _ in range(4):
                self.round_of(other)

    def evict_name(self, name: str) -> None:
        self.log.evict(name.rpartition("-")[0], name)

    def publish(self, count: int) -> None:
        armed, self.armed = self.armed, []
        producer = self.log.producer(lambda error: None)
        for _ in range(count):
            number = self.published
            event = type(self).make_image(number, received_bytes=number, study_uid=f"2.25.{number % 7}")
            producer.produce("t.images", self.codec.encode(IMAGES, event), event.key)
            self.published += 1
        self.armed = armed

    @rule(ordinal=st.sampled_from(ORDINALS), sink=st.booleans())
    @precondition(lambda self: len(self.members) < MOST)
    def start(self, ordinal: int, sink: bool) -> None:
        """A new instance; one that bears the same name may still run."""
        name = instance(ordinal, sink)
        before, self.current = self.current, (name, None)
        with suppress(Killed, LogRefused):
            self.members.append((name, self.joined(ordinal, sink)))
        self.current = before

    def joined(self, ordinal: int, sink: bool) -> Member:
        clients = Clients(self.log, self.consumers)
        if sink:
            made = SinkRunner(self.store, self.settings, self.codec, ordinal=ordinal, limits=LIMITS, clients=clients)
        else:
            made = StageRunner(
                Stage(self.interfere), self.settings, self.codec, ordinal=ordinal, limits=LIMITS, clients=clients
            )
        return made.join(Clock(self.time_out), Health())

    def time_out(self) -> None:
        """What the coordinator does about transactions that have been open for too long."""
        for ordinal in ORDINALS:
            self.log.expire(f"t-copy-{ordinal}")

    @rule(number=st.integers(0, MOST - 1), count=st.integers(0, 6))
    @precondition(lambda self: self.members)
    def work(self, number: int, count: int) -> None:
        """Records come, and one instance works on them."""
        self.publish(count)
        member = self.members[number % len(self.members)]
        for _ in range(4):
            self.round_of(member)

    @rule(number=st.integers(0, MOST - 1), count=st.integers(1, 6), faults=st.lists(FAULT, min_size=1, max_size=4))
    @precondition(lambda self: self.members)
    def fail(self, number: int, count: int, faults: list[tuple[str, str]]) -> None:
        """The same, but it goes wrong, perhaps in more than one way."""
        self.armed = list(faults)
        self.work(number, count)
        self.armed = []

    @rule(number=st.integers(0, MOST - 1), count=st.integers(1, 6), what=st.sampled_from([*RARE]))
    @precondition(lambda self: self.members)
    def fail_rarely(self, number: int, count: int, what: str) -> None:
        """What takes more than an error at a call."""
        self.fail(number, count, RARE[what])

    def round_of(self, member: tuple[str, Member]) -> None:
        if member not in self.members or member in self.busy:
            return
        before, self.current = self.current, member
        self.busy.append(member)
        try:
            member[1].round()
        except (Killed, Fenced, LogRefused):
            self.kill(member)
        finally:
            self.busy.remove(member)
            self.current = before

    def kill(self, member: tuple[str, Member]) -> None:
        """Gone from one moment to the next; the log only hears of it when the session ends."""
        member[1].close()
        self.members.remove(member)

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.members)
    def die(self, number: int) -> None:
        self.kill(self.members[number % len(self.members)])

    @rule(ordinal=st.sampled_from(ORDINALS), sink=st.booleans())
    def evict(self, ordinal: int, sink: bool) -> None:
        self.evict_name(instance(ordinal, sink))

    def results(self) -> Counter[tuple[str, int, int]]:
        """How many results each record of `images` has."""
        found: Counter[tuple[str, int, int]] = Counter()
        for topic in (PREPROCESSED, DEAD_LETTERS):
            for item in read(self.settings, self.codec, pin(self.settings, topic, self.log), self.log):
                event = item.event
                at = event.source if isinstance(event, PreprocessedImage) else event
                found[at.topic, at.partition, at.offset] += 1
        return found

    @invariant()
    def nothing_twice(self) -> None:
        if hasattr(self, "log"):
            assert set(self.results().values()) <= {1}
            assert set(Counter(row.event_id for row in self.store.rows).values()) <= {1}

    def teardown(self) -> None:
        """Every session and transaction of the dead times out, and who is left finishes."""
        if not hasattr(self, "log"):
            return
        self.late = None
        for _ in range(LONGEST_FINISH):
            if self.is_done():
                break
            self.time_out_the_dead()
            self.start_what_is_missing()
            for member in list(self.members):
                self.round_of(member)
        for member in list(self.members):
            self.kill(member)
        assert sum(self.results().values()) == self.published, "nothing is lost"
        assert len(self.store.rows) == self.published
        self.nothing_twice()

    def time_out_the_dead(self) -> None:
        alive = {name for name, _ in self.members}
        for name in [instance(ordinal, sink) for ordinal in ORDINALS for sink in (False, True)]:
            if name not in alive:
                self.evict_name(name)
        self.time_out()

    def start_what_is_missing(self) -> None:
        for group in ("copy", "rows"):
            if not any(group in name for name, _ in self.members):
                self.start(0, group == "rows")

    def is_done(self) -> bool:
        return len(self.store.rows) == sum(self.results().values()) == self.published


@pytest.mark.timeout(3600)
def test_each_record_counts_once_whatever_happens(image):
    # What goes wrong here is meant to, and would be logged a hundred thousand times.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    Log.make_image = staticmethod(image)
    machine = Log.TestCase
    machine.settings = settings(
        max_examples=10_000 if is_full else 200,
        stateful_step_count=20,
        derandomize=not is_full,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        database=None,
    )
    machine("runTest").runTest()
