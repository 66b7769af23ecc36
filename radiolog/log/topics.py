"""Makes the broker's topics and the registry's schemas what `schemas` says; idempotent."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from radiolog.log import clients
from radiolog.log.errors import kafka_error, translated
from radiolog.settings import Settings
from schemas.codec import schema_text
from schemas.events import Event
from schemas.registry import ConfluentRegistry
from schemas.topics import TOPICS, Topic

LIST_SECONDS = 10.0
SECONDS = 30.0


class Change(StrEnum):
    """What `apply` did to a topic."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    """One topic as it now stands."""

    topic: str
    change: Change
    partitions: int
    schema_id: int


def topic_config(topic: Topic[Event], settings: Settings) -> dict[str, str]:
    """The topic's configuration on the broker."""
    retention_ms = -1 if topic.retention is None else int(topic.retention.total_seconds() * 1000)
    return {
        "cleanup.policy": topic.cleanup.value,
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        "max.message.bytes": str(clients.max_message_bytes(settings)),
        "min.insync.replicas": str(max(1, settings.replication_factor - 1)),
    }


def apply(settings: Settings, registry: ConfluentRegistry) -> Iterator[Applied]:
    """Creates what is missing and updates what differs, topic by topic; partitions are never changed.

    Raises:
        LogError: the broker can't be reached or refuses.
        RegistryError: the registry can't be reached, or refuses a schema.
    """
    admin = clients.admin(settings)
    try:
        present = admin.list_topics(timeout=LIST_SECONDS).topics
        for topic in TOPICS:
            name = topic.full_name(settings.topic_prefix)
            schema_id = registry.register(f"{name}-value", schema_text(topic.schema))
            if name in present:
                changed = _update(admin, name, topic_config(topic, settings))
                change = Change.UPDATED if changed else Change.UNCHANGED
                yield Applied(name, change, len(present[name].partitions), schema_id)
            else:
                _create(admin, name, topic, settings)
                yield Applied(name, Change.CREATED, settings.partitions, schema_id)
    except KafkaException as exception:
        raise translated(kafka_error(exception)) from exception


def _create(admin: AdminClient, name: str, topic: Topic[Event], settings: Settings) -> None:
    new = NewTopic(
        name,
        num_partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        config=topic_config(topic, settings),
    )
    admin.create_topics([new], operation_timeout=SECONDS)[name].result(SECONDS)


def _update(admin: AdminClient, name: str, wanted: dict[str, str]) -> bool:
    resource = ConfigResource(ResourceType.TOPIC, name)
    current = admin.describe_configs([resource])[resource].result(SECONDS)
    different = {key: value for key, value in wanted.items() if current[key].value != value}
    if different:
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in different.items()
        ]
        change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        admin.incremental_alter_configs([change])[change].result(SECONDS)
    return bool(different)
