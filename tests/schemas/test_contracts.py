"""The typed events and the Avro schemas are the same contract, told twice."""

import json
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel

from schemas.codec import schema_text
from schemas.topics import TOPICS, Cleanup

SCHEMAS = sorted({(topic.schema, topic.event) for topic in TOPICS}, key=lambda pair: pair[0])


@pytest.mark.parametrize(("name", "event"), SCHEMAS, ids=lambda value: value if isinstance(value, str) else "")
def test_event_and_schema_agree(name, event):
    named: dict[str, Any] = {}
    compare(event, json.loads(schema_text(name)), named, path=name)


@pytest.mark.parametrize("name", [name for name, _ in SCHEMAS])
def test_every_type_and_field_says_what_it_means(name):
    for path, node in walk(json.loads(schema_text(name)), name):
        if node.get("type") in ("record", "enum") or "name" in node:
            if node.get("type") == "fixed":
                continue
            assert node.get("doc", "").strip(), f"{path} has no doc"


@pytest.mark.parametrize("name", [name for name, _ in SCHEMAS])
def test_every_enum_can_grow(name):
    enums = [node for _, node in walk(json.loads(schema_text(name)), name) if node.get("type") == "enum"]
    for enum in enums:
        assert enum["default"] == "UNKNOWN" == enum["symbols"][0], enum["name"]


def test_payloads_come_last():
    fields = {name: [field["name"] for field in json.loads(schema_text(name))["fields"]] for name, _ in SCHEMAS}
    assert fields["image_event"][-1] == "payload"
    assert fields["preprocessed_image"][-1] == "pixels"


def test_topics_are_kept_as_designed():
    kept = {topic.name: (topic.retention and topic.retention.days, topic.cleanup) for topic in TOPICS}
    assert kept["images"] == (None, Cleanup.DELETE)
    assert kept["deadletters"] == kept["diagnoses.shadow"] == (90, Cleanup.DELETE)
    assert kept["models"] == kept["identities"] == (None, Cleanup.COMPACT)


def walk(node, path):
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from walk(value, f"{path}.{node.get('name', key)}")
    elif isinstance(node, list):
        for item in node:
            yield from walk(item, path)


def compare(hint, schema, named, path):
    """Asserts that a type hint says what an Avro schema says."""
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if get_origin(hint) is Annotated and hint is not AwareDatetime:
        hint = get_args(hint)[0]
    if isinstance(schema, list):
        assert get_origin(hint) in (Union, UnionType), path
        assert schema[0] == "null", path
        inner = [part for part in get_args(hint) if part is not NoneType]
        assert len(inner) == 1, path
        return compare(inner[0], schema[1], named, path)
    kind = schema if isinstance(schema, str) else schema["type"]
    logical = None if isinstance(schema, str) else schema.get("logicalType")
    if isinstance(schema, dict) and "name" in schema:
        named[schema["name"]] = schema
    if kind == "record":
        assert issubclass(hint, BaseModel), path
        assert set(hint.model_fields) == {field["name"] for field in schema["fields"]}, path
        for field in schema["fields"]:
            model_field = hint.model_fields[field["name"]]
            where = f"{path}.{field['name']}"
            assert model_field.is_required() == ("default" not in field), where
            compare(model_field.annotation, field["type"], named, where)
    elif kind == "enum":
        assert issubclass(hint, Enum), path
        assert [member.value for member in hint] == schema["symbols"], path
    elif kind == "array":
        assert get_origin(hint) is tuple, path
        compare(get_args(hint)[0], schema["items"], named, path)
    elif kind == "map":
        assert get_origin(hint) is dict, path
        compare(get_args(hint)[1], schema["values"], named, path)
    else:
        expected = {
            ("string", None): str,
            ("string", "uuid"): UUID,
            ("long", "timestamp-micros"): datetime,
            ("long", None): int,
            ("int", None): int,
            ("double", None): float,
            ("boolean", None): bool,
            ("bytes", None): bytes,
            ("fixed", None): bytes,
        }[kind, logical]
        assert hint is expected or (expected is datetime and "datetime" in str(hint).lower()), path
    return None
