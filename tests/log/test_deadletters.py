"""Dead letters: where they stand, and their retry, on Kafka and on its twin."""

import itertools
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from fastavro import parse_schema, schemaless_writer

from radiolog.log import clients
from radiolog.log.deadletters import Case, DeadLetters, Filter, State, fold, version
from radiolog.log.errors import LogError
from radiolog.log.memory import MemoryLog
from radiolog.log.publisher import Fact
from radiolog.log.replay import record_at
from radiolog.log.retry import Outcome, Overtaken, Retry
from radiolog.log.runtime import StageRunner
from radiolog.log.stage import Coordinates, Emit, Reject
from radiolog.log.trace import TRACEPARENT, TraceContext
from schemas.codec import HEADER, MAGIC, schema_text
from schemas.events import DeadLetter, derived_id
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED
from tests.derived import preprocessed

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Picky:
    """A stage that rejects some images for as long as it is told to."""

    name = "picky"
    source = IMAGES

    def __init__(self, rejects=()) -> None:
        self.rejects = set(rejects)

    def process(self, batch):
        return [self.one(item) for item in batch]

    def one(self, item):
        image = item.event
        if image.event_id in self.rejects:
            return Reject("too_odd", "it is odd")
        return Emit((Fact(PREPROCESSED, preprocessed(item)),))


def letter(number: int = 1, failed: int = 0, retried: int | None = None, **changes) -> DeadLetter:
    """A letter that failed, and was retried, so many minutes after THEN."""
    values = {
        "event_id": derived_id("letter", str(number)),
        "code_version": "test",
        "stage": "picky",
        "error_class": "too_odd",
        "reason": "it is odd",
        "topic": "nowhere",
        "partition": 0,
        "offset": number,
        "study_uid": f"2.25.{number}",
        "failed_at": THEN + timedelta(minutes=failed),
        "retried_at": None if retried is None else THEN + timedelta(minutes=retried),
    }
    return DeadLetter(**values | changes)


@pytest.fixture
def letters(world) -> DeadLetters:
    return DeadLetters(world.settings, world.codec, world.clients)


@pytest.fixture
def retry(world):
    with Retry(world.settings, world.codec, world.clients) as retry:
        yield retry


@pytest.fixture
def work(world):
    """Runs the stage until so many results and open letters are there."""

    def run(stage, results: int, of_letters: int) -> None:
        runner = StageRunner(stage, world.settings, world.codec, clients=world.clients)
        with world.running(runner) as until:
            until(lambda: (len(world.events(PREPROCESSED)), len(world.events(DEAD_LETTERS))) == (results, of_letters))
        if isinstance(world.clients, MemoryLog):  # where no session times out by itself
            world.clients.evict(f"{world.settings.app}-picky", f"{world.settings.app}-picky-0")

    return run


@pytest.fixture
def rejected(world, image, work):
    """The letter of an image that the stage rejected."""
    stage = Picky([image(3).event_id])
    trace = TraceContext.begin()
    with world.publisher() as publisher:
        publisher.publish([Fact(IMAGES, image(3), trace)])
        publisher.publish([Fact(IMAGES, image(n)) for n in (1, 2)])
    work(stage, results=2, of_letters=1)
    (found,) = DeadLetters(world.settings, world.codec, world.clients).find()
    return found


def delete_before(world, at: Coordinates) -> None:
    """The topic's retention deletes what stands before `at`."""
    if isinstance(world.clients, MemoryLog):
        world.clients.delete_before((at.topic, at.partition), at.offset)
    else:
        partition = TopicPartition(at.topic, at.partition, at.offset)
        admin = clients.admin(world.settings)
        (future,) = admin.delete_records([partition]).values()
        future.result(30)


HISTORY = [letter(failed=0), letter(failed=0, retried=5), letter(failed=10), letter(failed=10, retried=15)]
STATES = [State.OPEN, State.RETRIED, State.FAILED_AGAIN, State.RETRIED]


@pytest.mark.parametrize("told", range(1, 5))
def test_a_letter_stands_where_its_latest_record_says(told):
    standing = None
    for record in HISTORY[:told]:
        standing = fold(standing, record)
    assert standing.state is STATES[told - 1]
    assert standing.latest == version(HISTORY[told - 1])


@pytest.mark.parametrize("told", range(1, 5))
def test_neither_order_nor_repetition_matters(told):
    expected = None
    for record in HISTORY[:told]:
        expected = fold(expected, record)
    for order in itertools.permutations(HISTORY[:told] * 2 if told < 4 else HISTORY):
        standing = None
        for record in order:
            standing = fold(standing, record)
        assert standing == expected


def test_a_retry_by_a_clock_that_is_fast_hides_no_later_failure():
    standing = None
    for record in (letter(failed=0), letter(failed=0, retried=60), letter(failed=10)):
        standing = fold(standing, record)
    assert standing.state is State.FAILED_AGAIN


def test_the_topic_is_folded(world, letters):
    records = [*HISTORY[:3], letter(2), letter(2, retried=1), letter(3), letter(3)]
    random.Random(1).shuffle(records)
    world.publish(DEAD_LETTERS, records)
    found = {case.letter.event_id: case for case in letters.find()}
    assert {number: found[letter(number).event_id].state for number in (1, 2, 3)} == {
        1: State.FAILED_AGAIN,
        2: State.RETRIED,
        3: State.OPEN,
    }
    assert len(found) == len(list(letters.find())) == 3, "one each"
    assert found[letter(1).event_id].letter == HISTORY[2]
    assert found[letter(1).event_id].retried_at == THEN + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), {1, 2, 3, 4}),
        (Filter(stage="other"), {2}),
        (Filter(error_class="late"), {3}),
        (Filter(since=THEN + timedelta(minutes=7)), {4}),
        (Filter(since=THEN + timedelta(minutes=8)), set()),
        (Filter(only_open=True), {2, 3, 4}),
        (Filter(stage="picky", only_open=True), {3, 4}),
    ],
)
def test_letters_are_found_by_what_they_say(world, letters, wanted, numbers):
    world.publish(
        DEAD_LETTERS,
        [letter(1, retried=3), letter(2, stage="other"), letter(3, error_class="late"), letter(4, failed=7)],
    )
    ids = {letter(number).event_id for number in numbers}
    assert {case.letter.event_id for case in letters.find(wanted)} == ids


def test_records_that_are_no_letters_are_passed_over(world, letters):
    world.publish_raw(DEAD_LETTERS, b"no letter")
    world.publish(DEAD_LETTERS, [letter(1)])
    assert [case.letter.event_id for case in letters.find()] == [letter(1).event_id]
    assert letters.one(letter(1).event_id).is_open
    assert letters.one(letter(2).event_id) is None


def test_a_letter_from_before_there_were_retries_is_read(world):
    schema = json.loads(schema_text("dead_letter"))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "retried_at"]
    old = json.dumps(schema)
    subject = f"{world.name(DEAD_LETTERS)}-value"
    registry = world.codec._registry
    number = registry.register(subject, old)
    assert number != registry.schema_id(subject, schema_text("dead_letter"))
    body = BytesIO()
    body.write(HEADER.pack(MAGIC, number))
    schemaless_writer(body, parse_schema(schema), letter(1).model_dump(exclude={"retried_at"}))
    assert world.codec.decode(DEAD_LETTERS, body.getvalue()) == letter(1)


def test_what_the_log_holds_is_told_without_its_content(world, letters, rejected, image):
    source = letters.source(rejected.letter)
    (record,) = [item for item in world.read(world.pin(IMAGES)) if item.event.event_id == image(3).event_id]
    value = world.codec.encode(IMAGES, image(3))
    assert (source.size, source.schema_id) == (len(value), HEADER.unpack_from(value)[1])
    assert source.trace_id == record.trace.trace_id


def test_a_retry_that_succeeds_leaves_one_result(world, letters, rejected, retry, work, image):
    done = retry.one(rejected)
    assert done.outcome is Outcome.RETRIED
    work(Picky(), results=3, of_letters=2)
    assert Counter(event.event_id for event in world.events(PREPROCESSED)) == {
        derived_id("preprocessed", image(n).event_id): 1 for n in (1, 2, 3)
    }
    (case,) = letters.find()
    assert (case.state, case.letter) == (State.RETRIED, done.letter)
    assert not list(letters.find(Filter(only_open=True)))


def test_the_record_comes_again_as_it_was(world, rejected, retry, image):
    before = record_at(world.settings, at(rejected.letter), world.clients)
    retry.one(rejected)
    first, second = (item for item in world.read(world.pin(IMAGES)) if item.event.event_id == image(3).event_id)
    after = record_at(world.settings, second.at, world.clients)
    assert (after.value(), after.key(), second.at.partition) == (before.value(), before.key(), first.at.partition)
    assert second.trace.trace_id == first.trace.trace_id
    assert second.trace.span_id != first.trace.span_id


@pytest.mark.parametrize(
    ("value", "key", "headers"),
    [
        (b"no avro", b"\xfe", [("vendor", b"\xff\x00"), ("empty", None), *TraceContext.begin().headers]),
        (None, None, []),
    ],
    ids=["odd", "absent"],
)
def test_keys_and_headers_of_any_kind_are_kept(world, retry, value, key, headers):
    producer, sent = world.clients.producer(lambda error: None), []
    producer.produce(
        world.name(IMAGES), value, key, headers=headers, on_delivery=lambda _, message: sent.append(message)
    )
    assert producer.flush(30) == 0
    where = letter(topic=world.name(IMAGES), partition=sent[0].partition(), offset=sent[0].offset())
    ends = world.pin(IMAGES).end
    assert retry.one(Case(where, State.OPEN, None)).outcome is Outcome.RETRIED
    ((partition, offset),) = {place for place in ends.items() if world.pin(IMAGES).end[place[0]] > place[1]}
    after = record_at(world.settings, Coordinates(world.name(IMAGES), partition, offset), world.clients)
    assert (after.value(), after.key()) == (value, key)
    assert [header for header in after.headers() if header[0] != TRACEPARENT] == headers[:2]


def test_what_fails_again_is_open_again(world, letters, rejected, retry, work, image):
    retry.one(rejected)
    work(Picky([image(3).event_id]), results=2, of_letters=3)
    (case,) = letters.find()
    assert case.state is State.FAILED_AGAIN
    assert case.is_open
    assert case.letter.event_id == rejected.letter.event_id
    assert case.letter.offset > rejected.letter.offset
    assert case.letter.failed_at > case.retried_at
    assert retry.one(case).outcome is Outcome.RETRIED
    work(Picky(), results=3, of_letters=4)
    (case,) = letters.find()
    assert case.state is State.RETRIED


def test_a_retried_letter_is_left_alone(world, letters, rejected, retry):
    retry.one(rejected)
    (case,) = letters.find()
    before = len(world.events(IMAGES))
    assert retry.one(case).outcome is Outcome.ALREADY
    assert len(world.events(IMAGES)) == before
    assert retry.one(case, again=True).outcome is Outcome.RETRIED
    assert len(world.events(IMAGES)) == before + 1
    (later,) = letters.find()
    assert later.letter.retried_at > case.letter.retried_at


def test_what_is_gone_is_told_and_not_retried(world, letters, rejected, retry):
    where = at(rejected.letter)
    delete_before(world, Coordinates(where.topic, where.partition, where.offset + 1))
    before = world.pin(IMAGES).end, world.pin(DEAD_LETTERS).end
    assert letters.source(rejected.letter) is None
    assert retry.one(rejected).outcome is Outcome.GONE
    assert (world.pin(IMAGES).end, world.pin(DEAD_LETTERS).end) == before
    (case,) = letters.find()
    assert case.state is State.OPEN


@pytest.mark.parametrize("changes", [{"partition": 99}, {"topic": "no.such.topic"}, {"offset": 1 << 40}])
def test_coordinates_that_lead_nowhere_are_gone(world, letters, retry, rejected, changes):
    lost = rejected.letter.model_copy(update=changes)
    assert letters.source(lost) is None


def test_a_record_that_is_no_event_is_retried_too(world, letters, work, retry, image):
    """Its letter follows from its coordinates: the next failure is a letter of its own."""
    value = world.codec.encode(IMAGES, image(1))[:-5]
    world.publish_raw(IMAGES, value)
    work(Picky(), results=0, of_letters=1)
    (case,) = letters.find()
    assert case.letter.source_event_id is None
    assert letters.source(case.letter).size == len(value)
    assert retry.one(case).outcome is Outcome.RETRIED
    work(Picky(), results=0, of_letters=3)
    states = {found.letter.event_id: found.state for found in letters.find()}
    assert states.pop(case.letter.event_id) is State.RETRIED
    assert list(states.values()) == [State.OPEN]


def test_retries_see_what_earlier_ones_have_done(world, letters, rejected):
    """The second takes the first one's place, and reads the letters after that."""
    with Retry(world.settings, world.codec, world.clients) as first:
        assert first.one(rejected).outcome is Outcome.RETRIED
        with Retry(world.settings, world.codec, world.clients) as second:
            (case,) = second.find()
            assert second.one(case).outcome is Outcome.ALREADY
            with pytest.raises(Overtaken):
                first.one(rejected)


CALLS = ["begin_transaction", "produce", "commit_transaction"]


class Crash(BaseException):
    """The end of the process."""


@pytest.mark.parametrize("world", ["memory"], indirect=True)  # where a process can be ended between any two calls
@pytest.mark.parametrize("call", [*CALLS, "produce done"])
def test_a_crash_leaves_neither_half(world, letters, rejected, call):
    log = world.clients
    with Retry(world.settings, world.codec, log) as retry:
        log.interfere = failing(call, Crash())
        with pytest.raises(Crash):
            retry.one(rejected)
    log.interfere = lambda name: None
    with Retry(world.settings, world.codec, log) as successor:
        assert len(world.events(IMAGES)) == 3
        (found,) = successor.find()
        assert found.state is State.OPEN
        assert successor.one(found).outcome is Outcome.RETRIED
    assert len(world.events(IMAGES)) == 4
    (found,) = letters.find()
    assert found.state is State.RETRIED


@pytest.mark.parametrize("world", ["memory"], indirect=True)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "error",
    [
        KafkaError(KafkaError._TIMED_OUT, "injected"),
        KafkaError(KafkaError.TRANSACTION_ABORTABLE, "", False, False, True),
    ],
    ids=["no answer", "abort"],
)
def test_an_error_at_any_call_retries_once(world, rejected, call, after, error):
    """An answer that is lost says nothing: the topic does."""
    with Retry(world.settings, world.codec, world.clients) as retry:
        world.clients.interfere = failing(f"{call} done" if after else call, KafkaException(error))
        assert retry.one(rejected).outcome is Outcome.RETRIED
    assert len(world.events(IMAGES)) == 4
    records = world.events(DEAD_LETTERS)
    assert [record.retried_at is not None for record in sorted(records, key=version)] == [False, True]


def failing(call: str, error: BaseException):
    """Raises the error at the call, once."""
    errors = [error]

    def interfere(name: str) -> None:
        if name == call and errors:
            raise errors.pop()

    return interfere


def test_a_log_without_topics_says_so(bare_site):
    from schemas.registry import codec

    with pytest.raises(LogError):
        Retry(bare_site, codec(bare_site))


def at(source: DeadLetter) -> Coordinates:
    return Coordinates(source.topic, source.partition, source.offset)
