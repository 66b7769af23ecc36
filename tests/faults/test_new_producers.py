"""Producers that a broker knows nothing of yet publish while it comes back: what is acknowledged is on the log.

With five requests under way at a time, librdkafka's default, 3 of 1,152 acknowledged records were lost on a busy
machine: `radiolog.log.clients.producer_config` says why. With many partitions, the broker takes its time to lead them.
"""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka.admin import NewTopic

from radiolog.log.clients import admin
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import pin, read
from radiolog.log.stage import Received
from radiolog.stack.kafka import KafkaServer
from schemas.registry import codec
from schemas.topics import IMAGES
from tests import sites
from tests.conftest import SITE_SECRET
from tests.faults.servers import OwnServers
from tests.faults.trial import full_or

TIMES = full_or(1, 12)
PUBLISHERS, THREADS, EVENTS = 16, 4, 3
FILLER_PARTITIONS = 600

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]


@pytest.fixture
def own_servers() -> Iterator[OwnServers]:
    with tempfile.TemporaryDirectory(prefix="radiolog-producers-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with OwnServers(folder / "stack") as servers:
            yield servers


def test_what_new_producers_are_told_is_true(own_servers: OwnServers, tmp_path: Path, image) -> None:
    servers = sites.at(own_servers.up(), state_dir=tmp_path, site_secret=SITE_SECRET, partitions=2)
    site = sites.equipped(sites.bare(servers))
    client = admin(site)
    client.create_topics([NewTopic("filler", FILLER_PARTITIONS, 1)])["filler"].result(60)
    acknowledged: list[UUID] = []
    numbers = iter(range(1_000_000))

    def publish(publisher: KafkaPublisher) -> None:
        pause = threading.Event()
        for _ in range(EVENTS):
            event = image(next(numbers))
            while True:
                try:
                    publisher.publish([Fact(IMAGES, event)])
                    break
                except LogUnavailable:
                    pause.wait(0.05)
            acknowledged.append(event.event_id)

    for _ in range(TIMES):
        with ExitStack() as stack, ThreadPoolExecutor(PUBLISHERS * THREADS) as threads:
            publishers = [stack.enter_context(KafkaPublisher(site, codec(site))) for _ in range(PUBLISHERS)]
            own_servers.kill(KafkaServer)
            work = [threads.submit(publish, publisher) for publisher in publishers for _ in range(THREADS)]
            own_servers.up()
            for one in work:
                one.result()
    found = read(site, codec(site), pin(site, IMAGES))
    on_the_log = {item.event.event_id for item in found if isinstance(item, Received)}
    assert len(acknowledged) == TIMES * PUBLISHERS * THREADS * EVENTS
    assert not set(acknowledged) - on_the_log
