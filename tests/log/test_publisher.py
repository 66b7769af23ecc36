"""What `publish` promises, on Kafka and on its twin."""

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from radiolog.log import clients
from radiolog.log.clients import KafkaClients
from radiolog.log.errors import LogRefused, LogUnavailable, RecordTooLarge
from radiolog.log.memory import MemoryLog
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.trace import TraceContext
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.registry import MemoryRegistry, codec
from schemas.topics import IMAGES


def test_what_publish_returned_for_is_on_the_log(world, image):
    with world.publisher() as publisher:
        for number in range(20):
            publisher.publish([Fact(IMAGES, image(number))])
    assert {event.event_id: event for event in world.events(IMAGES)} == {
        image(number).event_id: image(number) for number in range(20)
    }


def test_facts_of_a_study_stay_in_order(world, image):
    world.publish(IMAGES, [image(number, study_uid="2.25.7") for number in range(50)])
    assert world.events(IMAGES) == [image(number, study_uid="2.25.7") for number in range(50)]


def test_many_threads_may_publish(world, image):
    with world.publisher() as publisher:
        threads = [
            threading.Thread(target=publisher.publish, args=([Fact(IMAGES, image(number))],)) for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(world.events(IMAGES)) == 16


def test_a_payload_of_the_inline_maximum_goes_through(world, image):
    whole = image(1, payload=bytes(world.settings.inline_max_bytes))
    world.publish(IMAGES, [whole])
    assert world.events(IMAGES) == [whole]


def test_a_larger_one_is_refused(world, image):
    with world.publisher() as publisher, pytest.raises(RecordTooLarge, match="the log takes"):
        publisher.publish([Fact(IMAGES, image(1, payload=bytes(world.settings.inline_max_bytes + (1 << 17))))])
    assert world.events(IMAGES) == []


def test_a_fact_keeps_its_place_in_a_trace(world, image):
    trace = TraceContext("1" * 32, "2" * 16, state="vendor=1")
    with world.publisher() as publisher:
        publisher.publish([Fact(IMAGES, image(1), trace)])
    (found,) = world.read(world.pin(IMAGES))
    assert found.trace == trace


def test_a_fact_without_one_begins_one(world, image):
    world.publish(IMAGES, [image(1), image(2)])
    traces = {found.trace.trace_id for found in world.read(world.pin(IMAGES))}
    assert len(traces) == 2


def test_what_the_log_refuses_is_an_error_of_the_log(tmp_path, image):
    settings = Settings(state_dir=tmp_path, topic_prefix="t.")
    log = MemoryLog()
    with KafkaPublisher(settings, Codec(MemoryRegistry(), "t."), log) as publisher:
        with pytest.raises(LogRefused):
            publisher.publish([Fact(IMAGES, image(1))])
        log.create("t.images")
        log.interfere = refuse_once(log)
        with pytest.raises(LogUnavailable):
            publisher.publish([Fact(IMAGES, image(1))])
        publisher.publish([Fact(IMAGES, image(1))])


def refuse_once(log: MemoryLog):
    def interfere(call: str) -> None:
        log.interfere = lambda call: None
        raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    return interfere


def test_without_schemas_the_error_says_what_to_do(bare_site, image):
    with (
        KafkaPublisher(bare_site, codec(bare_site)) as publisher,
        pytest.raises(LogRefused, match="radiolog topics apply"),
    ):
        publisher.publish([Fact(IMAGES, image(1))])


@pytest.mark.timeout(60)
def test_without_a_broker_it_is_unavailable(tmp_path, image, monkeypatch):
    nowhere = Settings(state_dir=tmp_path, bootstrap_servers="127.0.0.1:1")
    quick = clients.producer_config(nowhere) | {"delivery.timeout.ms": 500}
    monkeypatch.setattr(clients, "producer_config", lambda settings: quick)
    with (
        KafkaPublisher(nowhere, Codec(MemoryRegistry(), "t."), KafkaClients(nowhere)) as publisher,
        pytest.raises(LogUnavailable),
    ):
        publisher.publish([Fact(IMAGES, image(1))])
