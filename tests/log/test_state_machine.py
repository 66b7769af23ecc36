"""Any order of events, with an error or a death at any call: each record counts once (hypothesis, on the log's twin).

A run is a sequence of steps drawn by hypothesis: records are published; instances start, go round, are killed, lose
their membership, or are started twice. At any call to the log or the store the next step may bring an error, before or
after it took effect; or the instance's death; or a pause in which its membership ends and the others go on, after which
the zombie goes on as well. Whatever happened, one healthy instance then finishes the work, and every record has one
result and every result one row.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from radiolog.health import Health
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
from schemas.events import Event, ImageEvent, PixelStatus, PixelType, PreprocessedImage, derived_id
from schemas.registry import MemoryRegistry
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED, TOPICS, Topic

LIMITS = BatchLimits(events=3, seconds=0.0)
ORDINALS = (0, 1, 2)
CALLS = (
    "init_transactions",
    "begin_transaction",
    "produce",
    "send_offsets_to_transaction",
    "commit_transaction",
    "abort_transaction",
    "committed",
    "poll",
    "process",
    "store",
)
NO_ERRORS = {"poll"}
"""Calls that answer instead of raising."""
ERRORS = {
    "no answer": KafkaError(KafkaError._TIMED_OUT, "injected", False, True),
    "abort": KafkaError(KafkaError.TRANSACTION_ABORTABLE, "injected", False, False, True),
    "again": KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "injected", False, True),
    "lost": KafkaError(KafkaError.REQUEST_TIMED_OUT, "injected"),
    "fatal": KafkaError(KafkaError._FATAL, "injected", True),
}


class Killed(BaseException):
    """SIGKILL: nothing catches it."""


class NoWait(threading.Event):
    """Nobody waits here."""

    def wait(self, timeout: float | None = None) -> bool:
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
        return Emit((Fact(PREPROCESSED, result(item)),))


def result(item: Received[ImageEvent]) -> PreprocessedImage:
    image = item.event
    return PreprocessedImage(
        event_id=derived_id("copy", image.event_id),
        code_version="test",
        source=item.ref,
        patient_pseudonym=image.patient_pseudonym,
        study_uid=image.study_uid,
        series_uid=image.series_uid,
        sop_instance_uid=image.sop_instance_uid,
        status=PixelStatus.NOT_AN_IMAGE,
        spec_id="test@1",
        spec_sha256="0" * 64,
        frame=0,
        height=0,
        width=0,
        dtype=PixelType.UINT8,
        received_at=image.received_at,
        published_at=image.published_at,
        preprocessed_at=image.received_at,
        pixels=b"",
    )


Member = StageMember | SinkMember


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
        self.armed: tuple[str, str, int] | None = None

    def interfere(self, call: str) -> None:
        """What may happen at any call, once: an error, a death, or a pause while the world goes on."""
        if self.armed is None or self.armed[0] != call:
            return
        _, what, spared = self.armed
        self.armed = (call, what, spared - 1) if spared else None
        if spared:
            return
        if what == "death":
            raise Killed
        if what == "pause":
            self.pause()
        else:
            raise KafkaException(ERRORS[what])

    def pause(self) -> None:
        """The one whose call this is stands still; its session ends, its work goes to others."""
        current = self.current
        name = current[0]
        self.evict_name(name)
        for other in [member for member in self.members if member is not current]:
            for _ in range(4):
                self.round_of(other)
        self.current = current

    def evict_name(self, name: str) -> None:
        self.log.evict(name.rpartition("-")[0], name)

    @rule(count=st.integers(1, 6))
    def publish(self, count: int) -> None:
        producer = self.log.producer(lambda error: None)
        armed, self.armed = self.armed, None
        for _ in range(count):
            number = self.published
            event = type(self).make_image(number, received_bytes=number, study_uid=f"2.25.{number % 7}")
            producer.produce("t.images", self.codec.encode(IMAGES, event), event.key)
            self.published += 1
        self.armed = armed

    @rule(ordinal=st.sampled_from(ORDINALS), sink=st.booleans())
    @precondition(lambda self: len(self.members) < 6)
    def start(self, ordinal: int, sink: bool) -> None:
        """A new instance; one that bears the same name may still run."""
        name = f"t-{'rows' if sink else 'copy'}-{ordinal}"
        self.current = (name, None)
        try:
            member = self.joined(ordinal, sink)
        except (Killed, LogRefused):
            return
        self.members.append((name, member))

    def joined(self, ordinal: int, sink: bool) -> Member:
        if sink:
            made = SinkRunner(self.store, self.settings, self.codec, ordinal=ordinal, limits=LIMITS, clients=self.log)
        else:
            made = StageRunner(
                Stage(self.interfere), self.settings, self.codec, ordinal=ordinal, limits=LIMITS, clients=self.log
            )
        return made.join(NoWait(), Health())

    @rule(number=st.integers(0, 5), rounds=st.integers(1, 4))
    @precondition(lambda self: self.members)
    def go_round(self, number: int, rounds: int) -> None:
        member = self.members[number % len(self.members)]
        for _ in range(rounds):
            self.round_of(member)

    def round_of(self, member: tuple[str, Member]) -> None:
        self.current = member
        if member not in self.members:
            return
        try:
            member[1].round()
        except (Killed, Fenced, LogRefused):
            self.kill(member)

    def kill(self, member: tuple[str, Member]) -> None:
        """Gone from one moment to the next; the log only hears of it when the session ends."""
        member[1].close()
        self.members.remove(member)

    @rule(number=st.integers(0, 5))
    @precondition(lambda self: self.members)
    def die(self, number: int) -> None:
        self.kill(self.members[number % len(self.members)])

    @rule(ordinal=st.sampled_from(ORDINALS), group=st.sampled_from(["t-copy", "t-rows"]))
    def evict(self, ordinal: int, group: str) -> None:
        self.evict_name(f"{group}-{ordinal}")

    @rule(
        call=st.sampled_from(CALLS),
        after=st.booleans(),
        spared=st.integers(0, 3),
        what=st.sampled_from([*ERRORS, "death", "pause", "pause"]),
    )
    def arm(self, call: str, after: bool, spared: int, what: str) -> None:
        if call in NO_ERRORS and what in ERRORS:
            what = "pause"
        self.armed = (f"{call} done" if after and call not in ("poll", "process") else call, what, spared)

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
            armed, self.armed = self.armed, None
            assert set(self.results().values()) <= {1}
            assert set(Counter(row.event_id for row in self.store.rows).values()) <= {1}
            self.armed = armed

    def teardown(self) -> None:
        """Every session and transaction of the dead times out, and one instance of each finishes."""
        self.armed = None
        while self.members:
            self.kill(self.members[0])
        for name in [f"t-{group}-{ordinal}" for group in ("copy", "rows") for ordinal in ORDINALS]:
            self.evict_name(name)
        for ordinal in ORDINALS:
            self.log.transactional_producer(f"t-copy-{ordinal}").init_transactions()
        healthy = [self.joined(0, sink=False), self.joined(0, sink=True)]
        for member in healthy:
            for _ in range(3 * len(TOPICS) + self.published):
                member.round()
            member.close()
        assert sum(self.results().values()) == self.published, "nothing is lost"
        assert len(self.store.rows) == self.published
        self.nothing_twice()


@pytest.mark.timeout(600)
def test_each_record_counts_once_whatever_happens(image):
    Log.make_image = staticmethod(image)
    machine = Log.TestCase
    machine.settings = settings(
        max_examples=400, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine("runTest").runTest()
