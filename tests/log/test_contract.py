"""What exactly once rests on, asked of the clients themselves: Kafka and its twin give the same answers."""

from collections import Counter

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from radiolog.log import transactions
from radiolog.log.clients import MAX_POLL_SECONDS
from radiolog.log.memory import MemoryLog
from schemas.topics import IMAGES, PREPROCESSED

SECONDS = 30


@pytest.fixture
def group(world):
    return f"{world.settings.app}-contract"


@pytest.fixture
def member(world, group):
    """Joins the group as an instance, and waits for its partitions."""
    members = []

    def join(instance: str):
        consumer = world.clients.member(group, instance)
        consumer.subscribe([world.name(IMAGES)])
        members.append(consumer)
        return consumer

    yield join
    for consumer in members:
        consumer.close()


@pytest.fixture
def transaction(world):
    """A producer in a transaction."""

    def begin(transactional_id: str):
        producer = world.clients.transactional_producer(f"{world.settings.app}-{transactional_id}")
        producer.init_transactions(SECONDS)
        producer.begin_transaction()
        return producer

    return begin


@pytest.fixture
def next_of(world):
    """The next record that a member gets."""

    def poll(consumer):
        found = []
        world.until(lambda: found.append(consumer.poll(0.2)) or found[-1] is not None)
        assert found[-1].error() is None
        return found[-1]

    return poll


def after(message) -> TopicPartition:
    return TopicPartition(message.topic(), message.partition(), message.offset() + 1)


def error_of(call, *arguments) -> KafkaError:
    with pytest.raises(KafkaException) as caught:
        call(*arguments)
    return caught.value.args[0]


def test_a_successor_waits_until_offsets_under_way_are_settled(world, image, member, transaction, next_of, group):
    """KIP-447: without this, records of an open transaction would be read by the next member too."""
    world.publish(IMAGES, [image(number, study_uid="2.25.1") for number in range(2)])
    first = member("one")
    message = next_of(first)
    producer = transaction("a")
    producer.send_offsets_to_transaction([after(message)], first.consumer_group_metadata(), SECONDS)
    second = member("one")
    world.until(lambda: second.poll(0.1) or second.assignment())
    assert [second.poll(0.1) for _ in range(5)] == [None] * 5
    producer.commit_transaction(SECONDS)
    assert next_of(second).offset() == message.offset() + 1


def test_readers_stop_at_the_first_open_transaction(world, image, transaction):
    event = image(1)
    value = world.codec.encode(IMAGES, event)
    producer = transaction("a")
    producer.produce(world.name(IMAGES), value, event.key)
    producer.flush(SECONDS)
    world.publish(IMAGES, [event])
    assert world.events(IMAGES) == []
    producer.commit_transaction(SECONDS)
    assert world.events(IMAGES) == [event, event]


def test_a_newer_producer_fences_the_older(world, image, transaction):
    event = image(1)
    older = transaction("a")
    older.produce(world.name(IMAGES), world.codec.encode(IMAGES, event), event.key)
    older.flush(SECONDS)
    transaction("a").commit_transaction(SECONDS)
    error = error_of(older.commit_transaction, SECONDS)
    assert error.fatal()
    assert world.events(IMAGES) == []


def test_offsets_of_a_member_whose_name_another_bears_are_refused(world, image, member, transaction, next_of):
    world.publish(IMAGES, [image(1)])
    first = member("one")
    message, who = next_of(first), first.consumer_group_metadata()
    second = member("one")
    world.until(lambda: second.poll(0.1) or second.assignment())
    producer = transaction("a")
    error = error_of(producer.send_offsets_to_transaction, [after(message)], who, SECONDS)
    assert error.code() == KafkaError.FENCED_INSTANCE_ID
    assert error.txn_requires_abort()


def test_offsets_of_an_older_generation_are_refused(world, image, member, transaction, next_of):
    world.publish(IMAGES, [image(number, study_uid=f"2.25.{number}") for number in range(20)])
    first = member("one")
    message, who = next_of(first), first.consumer_group_metadata()
    second = member("two")
    world.until(lambda: (first.poll(0.1), second.poll(0.1)) and len(second.assignment()) == 1)
    producer = transaction("a")
    error = error_of(producer.send_offsets_to_transaction, [after(message)], who, SECONDS)
    assert error.code() == KafkaError.ILLEGAL_GENERATION
    assert error.txn_requires_abort()


def test_a_pause_outlives_the_assignment(world, image, member, next_of, group):
    """A partition that was paused, went to another member and came back delivers nothing until it is resumed."""
    world.publish(IMAGES, [image(number, study_uid=f"2.25.{number}") for number in range(20)])
    counts = Counter(item.at.partition for item in world.read(world.pin(IMAGES)))
    one = member("one")
    world.until(lambda: [one.poll(0.1), one.pause(one.assignment())] and len(one.assignment()) == 2)
    other = member("other")
    world.until(lambda: [one.poll(0.1), other.poll(0.1)] and len(other.assignment()) == 1)
    (moved,) = other.assignment()
    one.seek(TopicPartition(moved.topic, 1 - moved.partition, 0))
    one.resume(one.assignment())
    other.close()
    if isinstance(world.clients, MemoryLog):  # Kafka's coordinator does so after the session timeout
        world.clients.evict(group, "other")
    read = []
    world.until(lambda: read.append(one.poll(0.1)) or len(one.assignment()) == 2)
    world.until(lambda: read.append(one.poll(0.1)) or len(list(filter(None, read))) >= counts[1 - moved.partition])
    assert moved.partition not in {message.partition() for message in read if message is not None}
    one.resume([moved])
    assert next_of(one).partition() == moved.partition


def test_an_aborted_transaction_leaves_neither_records_nor_offsets(world, image, member, transaction, next_of):
    world.publish(IMAGES, [image(1)])
    consumer = member("one")
    message = next_of(consumer)
    producer = transaction("a")
    producer.produce(world.name(PREPROCESSED), b"half", "key")
    producer.send_offsets_to_transaction([after(message)], consumer.consumer_group_metadata(), SECONDS)
    producer.abort_transaction(SECONDS)
    place = TopicPartition(message.topic(), message.partition())
    assert consumer.committed([place], SECONDS)[0].offset < 0
    assert world.read(world.pin(PREPROCESSED)) == []


def test_a_second_transaction_needs_the_end_of_the_first(transaction):
    producer = transaction("a")
    assert error_of(producer.begin_transaction).code() == KafkaError._STATE


def test_the_poll_interval_is_longer_than_a_transaction_may_take():
    calls = (transactions.PRODUCE_SECONDS, transactions.OFFSETS_SECONDS, transactions.COMMIT_SECONDS)
    assert sum(calls) + len(calls) * transactions.GRACE_SECONDS < MAX_POLL_SECONDS
