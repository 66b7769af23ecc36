"""Embedded servers of a benchmark's own, in a folder that is gone afterwards, and what to say of the machine."""

import os
import platform
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

import confluent_kafka
import psutil
from confluent_kafka.admin import AdminClient, NewTopic

from radiolog.log import clients
from radiolog.log.topics import topic_config
from radiolog.settings import Settings
from radiolog.stack import kafka
from radiolog.stack.artifacts import pinned
from radiolog.stack.stack import Stack
from schemas.events import Event
from schemas.topics import Topic

PREFIX = "bench."
SEGMENT_BYTES = 64 << 20
BROKER = {"log.retention.check.interval.ms": "2000", "log.segment.delete.delay.ms": "1000"}
"""What is not needed any more leaves the disk within seconds; Kafka's defaults are five minutes and one."""


@contextmanager
def own_servers(partitions: int) -> Iterator[Settings]:
    """Kafka, the registry and PostgreSQL, and the settings that lead to them; SIGTERM stops them too."""
    properties = kafka.server_properties
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory(prefix="radiolog-bench-") as name,
        patch.object(kafka, "server_properties", lambda ports: properties(ports) | BROKER),
    ):
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as `nobody` where this runs as root
        stack = Stack(folder / "stack")
        addresses = stack.up()
        try:
            yield Settings(
                state_dir=folder / "stack",
                site_secret="0123456789abcdef" * 4,
                topic_prefix=PREFIX,
                partitions=partitions,
                bootstrap_servers=addresses.bootstrap_servers,
                schema_registry_url=addresses.schema_registry_url,
                database_url=addresses.database_url,
            )
        finally:
            stack.down()


def create(admin: AdminClient, topic: Topic[Event], settings: Settings, **config: str) -> None:
    """Makes a topic as radiolog does, in small segments, so that what is deleted is soon gone."""
    name = topic.full_name(settings.topic_prefix)
    values = topic_config(topic, settings) | {"segment.bytes": str(SEGMENT_BYTES)} | config
    new = NewTopic(name, num_partitions=settings.partitions, replication_factor=1, config=values)
    admin.create_topics([new])[name].result(30)


def delete(admin: AdminClient, topic: Topic[Event], settings: Settings) -> None:
    """Deletes a topic and waits until its files are gone."""
    name = topic.full_name(settings.topic_prefix)
    admin.delete_topics([name])[name].result(30)
    poll = threading.Event()
    data = settings.state_dir / "kafka" / "data"
    while any(path.name.startswith(f"{name}-") for path in data.iterdir()):
        poll.wait(0.2)


def surroundings() -> dict[str, str]:
    """The machine and the versions, as a report names them."""
    broker = next(artifact for artifact in pinned("kafka") if artifact.name == "kafka_2.13")
    return {
        "machine": f"{os.cpu_count()} x {platform.machine()}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load when it began": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        "kafka": broker.version,
        "confluent-kafka": version("confluent-kafka"),
        "librdkafka": confluent_kafka.libversion()[0],
        "radiolog": version("radiolog"),
    }


def admin_of(settings: Settings) -> AdminClient:
    """An admin client."""
    return clients.admin(settings)
