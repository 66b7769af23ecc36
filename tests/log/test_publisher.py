"""What `publish` promises, on a real broker."""

import threading

import pytest

from radiolog.log.errors import LogRefused, LogUnavailable, RecordTooLarge
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import pin, read
from schemas.codec import Codec
from schemas.registry import MemoryRegistry
from schemas.topics import IMAGES


def test_what_publish_returned_for_is_on_the_log(site, site_codec, image):
    with KafkaPublisher(site, site_codec) as publisher:
        for number in range(20):
            publisher.publish([Fact(IMAGES, image(number))])
    found = list(read(site, site_codec, pin(site, IMAGES)))
    assert {received.event for received in found} == {image(number) for number in range(20)}


def test_facts_of_a_study_stay_in_order(site, site_codec, image):
    with KafkaPublisher(site, site_codec) as publisher:
        publisher.publish([Fact(IMAGES, image(number, study_uid="2.25.7")) for number in range(50)])
    found = list(read(site, site_codec, pin(site, IMAGES)))
    assert [received.event for received in found] == [image(number, study_uid="2.25.7") for number in range(50)]


def test_many_threads_may_publish(site, site_codec, image):
    with KafkaPublisher(site, site_codec) as publisher:
        threads = [
            threading.Thread(target=publisher.publish, args=([Fact(IMAGES, image(number))],)) for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(read(site, site_codec, pin(site, IMAGES)))) == 16


def test_a_payload_of_the_inline_maximum_goes_through(site, site_codec, image):
    whole = image(1, payload=bytes(site.inline_max_bytes))
    with KafkaPublisher(site, site_codec) as publisher:
        publisher.publish([Fact(IMAGES, whole)])
    (found,) = read(site, site_codec, pin(site, IMAGES))
    assert found.event == whole


def test_a_larger_one_is_refused(site, site_codec, image):
    with KafkaPublisher(site, site_codec) as publisher, pytest.raises(RecordTooLarge, match="the log takes"):
        publisher.publish([Fact(IMAGES, image(1, payload=bytes(site.inline_max_bytes + (1 << 17))))])


def test_without_schemas_the_error_says_what_to_do(bare_site, image):
    from schemas.registry import codec

    with (
        KafkaPublisher(bare_site, codec(bare_site)) as publisher,
        pytest.raises(LogRefused, match="radiolog topics apply"),
    ):
        publisher.publish([Fact(IMAGES, image(1))])


@pytest.mark.timeout(60)
def test_without_a_broker_it_is_unavailable(tmp_path, image, monkeypatch):
    from radiolog.log import clients
    from radiolog.settings import Settings

    nowhere = Settings(state_dir=tmp_path, bootstrap_servers="127.0.0.1:1")
    quick = clients.producer_config(nowhere) | {"delivery.timeout.ms": 500}
    monkeypatch.setattr(clients, "producer_config", lambda settings: quick)
    with KafkaPublisher(nowhere, Codec(MemoryRegistry(), "t.")) as publisher, pytest.raises(LogUnavailable):
        publisher.publish([Fact(IMAGES, image(1))])
