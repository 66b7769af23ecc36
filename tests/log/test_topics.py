"""Topics as designed, however often they are applied."""

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from radiolog.log import clients
from radiolog.log.topics import Change, apply
from schemas.registry import ConfluentRegistry
from schemas.topics import DEAD_LETTERS, IDENTITIES, IMAGES, TOPICS

DAY_MS = 86_400_000


def config_of(site, topic) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic.full_name(site.topic_prefix))
    admin = clients.admin(site)
    entries = admin.describe_configs([resource])[resource].result(30)
    return {name: entry.value for name, entry in entries.items()}


def test_first_created_then_unchanged(bare_site):
    registry = ConfluentRegistry.from_settings(bare_site)
    first = list(apply(bare_site, registry))
    assert [applied.topic for applied in first] == [topic.full_name(bare_site.topic_prefix) for topic in TOPICS]
    assert {applied.change for applied in first} == {Change.CREATED}
    second = list(apply(bare_site, registry))
    assert {applied.change for applied in second} == {Change.UNCHANGED}
    assert [applied.schema_id for applied in first] == [applied.schema_id for applied in second]


def test_retention_and_sizes(site):
    assert config_of(site, IMAGES)["retention.ms"] == "-1"
    assert config_of(site, DEAD_LETTERS)["retention.ms"] == str(90 * DAY_MS)
    assert config_of(site, IDENTITIES)["cleanup.policy"] == "compact"
    assert int(config_of(site, IMAGES)["max.message.bytes"]) > clients.max_record_bytes(site) > site.inline_max_bytes


def test_what_drifted_is_put_right(site):
    name = IMAGES.full_name(site.topic_prefix)
    drift = [ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)]
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=drift)
    admin = clients.admin(site)
    admin.incremental_alter_configs([change])[change].result(30)
    applied = {item.topic: item.change for item in apply(site, ConfluentRegistry.from_settings(site))}
    assert applied.pop(name) is Change.UPDATED
    assert set(applied.values()) == {Change.UNCHANGED}
    assert config_of(site, IMAGES)["retention.ms"] == "-1"
