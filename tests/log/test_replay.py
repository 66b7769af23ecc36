"""Bounded reads end where they were pinned, whatever stands there."""

import pytest
from confluent_kafka import Producer

from radiolog.log import clients
from radiolog.log.errors import LogError
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import RecordGone, Unreadable, fetch, pin, read
from schemas.topics import IMAGES


def published(site, codec, image, numbers) -> None:
    with KafkaPublisher(site, codec) as publisher:
        publisher.publish([Fact(IMAGES, image(number)) for number in numbers])


def in_transaction(site, codec, image, numbers, commit: bool) -> None:
    producer = clients.transactional_producer(site, f"{site.app}-test")
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in numbers:
        event = image(number)
        producer.produce(IMAGES.full_name(site.topic_prefix), codec.encode(IMAGES, event), event.key)
    assert producer.flush(30) == 0
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


def numbers(site, codec, wanted) -> list[int]:
    return sorted(int.from_bytes(item.event.received_sha256, "big") for item in read(site, codec, wanted))


def test_an_empty_topic_has_nothing(site, site_codec):
    assert list(read(site, site_codec, pin(site, IMAGES))) == []


def test_what_comes_after_the_pin_is_not_read(site, site_codec, image):
    published(site, site_codec, image, range(10))
    pinned = pin(site, IMAGES)
    published(site, site_codec, image, range(10, 20))
    assert numbers(site, site_codec, pinned) == list(range(10))


def test_the_same_slice_reads_the_same_twice(site, site_codec, image):
    published(site, site_codec, image, range(10))
    pinned = pin(site, IMAGES)
    assert list(read(site, site_codec, pinned)) == list(read(site, site_codec, pinned))


@pytest.mark.timeout(60)
def test_a_slice_that_ends_with_transaction_markers_ends(site, site_codec, image):
    in_transaction(site, site_codec, image, range(6), commit=True)
    assert numbers(site, site_codec, pin(site, IMAGES)) == list(range(6))


@pytest.mark.timeout(60)
def test_aborted_records_are_not_read(site, site_codec, image):
    in_transaction(site, site_codec, image, range(6), commit=True)
    in_transaction(site, site_codec, image, range(6, 12), commit=False)
    assert numbers(site, site_codec, pin(site, IMAGES)) == list(range(6))


def test_what_is_no_event_is_counted(site, site_codec, image):
    published(site, site_codec, image, [1])
    producer = Producer({"bootstrap.servers": site.bootstrap_servers})
    producer.produce(IMAGES.full_name(site.topic_prefix), b"no event", "key")
    assert producer.flush(30) == 0
    found = list(read(site, site_codec, pin(site, IMAGES)))
    assert [item.error_class for item in found if isinstance(item, Unreadable)] == ["not_confluent_format"]
    assert len(found) == 2


def test_one_event_by_its_coordinates(site, site_codec, image):
    published(site, site_codec, image, range(4))
    for item in read(site, site_codec, pin(site, IMAGES)):
        assert fetch(site, site_codec, IMAGES, item.at.partition, item.at.offset) == item


def test_coordinates_that_hold_nothing(site, site_codec, image):
    in_transaction(site, site_codec, image, [0], commit=True)
    (item,) = read(site, site_codec, pin(site, IMAGES))
    with pytest.raises(RecordGone):
        fetch(site, site_codec, IMAGES, item.at.partition, item.at.offset + 1)


def test_a_topic_that_is_not_there(bare_site):
    with pytest.raises(LogError):
        pin(bare_site, IMAGES)
