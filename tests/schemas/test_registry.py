"""Schemas on a real registry: found, evolved both ways, refused."""

import json

import pytest

from radiolog.settings import Settings
from schemas.codec import Codec, UnknownSchema, schema_text
from schemas.registry import (
    COMPATIBILITY,
    ConfluentRegistry,
    IncompatibleSchema,
    RegistryUnavailable,
    SchemaNotRegistered,
)
from schemas.topics import LABELS, TOPICS


@pytest.fixture
def registry(site):
    return ConfluentRegistry.from_settings(site)


@pytest.fixture
def subject(site):
    return f"{LABELS.full_name(site.topic_prefix)}-value"


def changed(change) -> str:
    schema = json.loads(schema_text("label"))
    change(schema["fields"])
    return json.dumps(schema)


def test_every_subject_demands_full_compatibility(site, registry):
    for topic in TOPICS:
        assert registry.compatibility(f"{topic.full_name(site.topic_prefix)}-value") == COMPATIBILITY


def test_ids_lead_to_schemas(registry, subject):
    schema_id = registry.schema_id(subject, schema_text("label"))
    assert json.loads(registry.schema(schema_id)) == json.loads(schema_text("label"))
    assert registry.register(subject, schema_text("label")) == schema_id


def test_an_optional_field_may_come_and_go(site, registry, subject):
    """Both ways: what either writer wrote, the other's reader reads."""
    field = {"name": "comment", "type": ["null", "string"], "default": None, "doc": "x"}
    newer = changed(lambda fields: fields.append(field))
    assert registry.register(subject, newer) != registry.schema_id(subject, schema_text("label"))
    without = changed(lambda fields: None)
    assert registry.register(subject, without) == registry.schema_id(subject, schema_text("label"))


def test_dead_letters_from_before_there_were_retries_are_of_a_compatible_schema(site, registry):
    """Registered first, as on a site that is upgraded; then `topics apply` finds no fault with the newer one."""
    subject = f"{site.topic_prefix}upgraded-value"
    newer = schema_text("dead_letter")
    older = json.loads(newer)
    older["fields"] = [field for field in older["fields"] if field["name"] != "retried_at"]
    assert registry.register(subject, json.dumps(older)) != registry.register(subject, newer)
    assert registry.compatibility(subject) == COMPATIBILITY


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.append({"name": "needed", "type": "string", "doc": "x"}),
        lambda fields: fields.pop(),
        lambda fields: fields[2].update(type="long"),
    ],
    ids=["a required field comes", "a required field goes", "a type changes"],
)
def test_what_would_break_a_reader_or_a_writer_is_refused(registry, subject, change):
    with pytest.raises(IncompatibleSchema, match="FULL_TRANSITIVE"):
        registry.register(subject, changed(change))


def test_what_is_not_there_is_not_found(bare_site):
    registry = ConfluentRegistry.from_settings(bare_site)
    with pytest.raises(SchemaNotRegistered, match="radiolog topics apply"):
        registry.schema_id("nothing-value", schema_text("label"))
    with pytest.raises(UnknownSchema):
        registry.schema(2**31 - 1)


def test_no_registry_is_unavailable(tmp_path):
    nowhere = Settings(state_dir=tmp_path, schema_registry_url="http://127.0.0.1:1")
    registry = ConfluentRegistry.from_settings(nowhere)
    for call in (
        lambda: registry.schema(1),
        lambda: registry.schema_id("s", "{}"),
        lambda: registry.register("s", "{}"),
    ):
        with pytest.raises(RegistryUnavailable):
            call()


def test_a_registry_that_is_away_makes_no_dead_letters(tmp_path):
    """An unknown id is the record's fault; a registry that does not answer is not, and the record must wait."""
    codec = Codec(
        ConfluentRegistry.from_settings(Settings(state_dir=tmp_path, schema_registry_url="http://127.0.0.1:1")), "t."
    )
    with pytest.raises(RegistryUnavailable):
        codec.decode(LABELS, b"\0\0\0\0\1body")
