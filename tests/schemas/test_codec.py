"""Bytes to events and back, and everything that is no event."""

import contextlib
import io
import json
import struct
from datetime import UTC, datetime

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Codec, CodecError, CorruptAvro, NotConfluentFormat, UnknownSchema, _parsed, schema_text
from schemas.events import Decision, Label, LabelSource, Severity, derived_id, image_event_id
from schemas.registry import MemoryRegistry
from schemas.topics import DEAD_LETTERS, IMAGES, LABELS, TOPICS


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(MemoryRegistry(), "test.")


def label(**changes) -> Label:
    values = {
        "event_id": derived_id("label"),
        "code_version": "1",
        "study_uid": "2.25.1",
        "image_event_id": image_event_id(bytes(32)),
        "code": "233604007",
        "name": "pneumonia",
        "decision": Decision.PRESENT,
        "severity": Severity.MILD,
        "source": LabelSource.RADIOLOGIST,
        "author": "reader-1",
        "labelled_at": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    }
    return Label(**values | changes)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
@given(data=st.data())
def test_every_event_survives_the_wire(topic, codec, any_event, data):
    event = data.draw(any_event(topic.event))
    assert codec.decode(topic, codec.encode(topic, event)) == event


@pytest.mark.parametrize("length", [0, 1, 63, 64, 8191, 8192, 1 << 20])
def test_a_spliced_payload_is_what_avro_would_have_written(codec, image, length):
    event = image(1, payload=bytes(range(256)) * (length // 256) + bytes(length % 256))
    plain = io.BytesIO()
    fastavro.schemaless_writer(plain, json.loads(schema_text(IMAGES.schema)), event.model_dump())
    value = codec.encode(IMAGES, event)
    assert value[5:] == plain.getvalue()
    assert codec.decode(IMAGES, value) == event


def test_a_writers_schema_is_the_readers_however_it_is_spaced(image):
    """Else fastavro compares the two, and resolves one to the other, for each event."""
    codec = Codec(MemoryRegistry(), "test.")
    codec.decode(IMAGES, codec.encode(IMAGES, image(1)))
    assert next(iter(codec._writers.values())) is _parsed(schema_text(IMAGES.schema))


def test_the_header_is_confluents(codec):
    value = codec.encode(LABELS, label())
    magic, schema_id = struct.unpack_from(">bI", value)
    assert (magic, json.loads(codec._registry.schema(schema_id))["name"]) == (0, "Label")


def test_a_topic_takes_its_own_events_only(codec):
    with pytest.raises(TypeError, match="deadletters carries DeadLetter, not Label"):
        codec.encode(DEAD_LETTERS, label())


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\0", b"\1\0\0\0\1rest", b'{"json": true}'])
def test_a_value_without_header_is_refused(codec, value):
    with pytest.raises(NotConfluentFormat):
        codec.decode(LABELS, value)


def test_an_unknown_schema_id_is_refused(codec):
    with pytest.raises(UnknownSchema, match="4294967295"):
        codec.decode(LABELS, struct.pack(">bI", 0, 2**32 - 1) + b"body")


@given(data=st.data())
def test_every_cut_value_is_refused(codec, data):
    value = codec.encode(LABELS, label())
    cut = data.draw(st.integers(5, len(value) - 1))
    with pytest.raises(CorruptAvro):
        codec.decode(LABELS, value[:cut])


def test_bytes_behind_the_body_are_refused(codec):
    with pytest.raises(CorruptAvro, match="3 bytes follow"):
        codec.decode(LABELS, codec.encode(LABELS, label()) + b"abc")


@given(garbage=st.binary(max_size=200))
def test_garbage_never_raises_anything_but_a_codec_error(codec, garbage):
    header = codec.encode(LABELS, label())[:5]
    for value in (garbage, header + garbage):
        with contextlib.suppress(CodecError):
            codec.decode(LABELS, value)


def test_an_error_never_quotes_the_content(codec):
    value = codec.encode(LABELS, label(author="SECRET^NAME"))
    with pytest.raises(CorruptAvro) as caught:
        codec.decode(LABELS, value[:-1])
    assert "SECRET" not in str(caught.value)


def evolved(change) -> str:
    schema = json.loads(schema_text("label"))
    change(schema)
    return json.dumps(schema)


def write_with(codec, schema: str, record: dict) -> bytes:
    from io import BytesIO

    import fastavro

    schema_id = codec._registry.register("test.labels-value", schema)
    body = BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(json.loads(schema)), record)
    return struct.pack(">bI", 0, schema_id) + body.getvalue()


def test_a_newer_writer_is_understood(codec):
    """A field and a symbol that this version does not know: the one is dropped, the other becomes UNKNOWN."""

    def newer(schema):
        schema["fields"].append({"name": "comment", "type": ["null", "string"], "default": None, "doc": "x"})
        source = next(field for field in schema["fields"] if field["name"] == "source")
        source["type"]["symbols"].append("CONSENSUS")

    record = label().model_dump() | {"comment": "new", "source": "CONSENSUS"}
    read = codec.decode(LABELS, write_with(codec, evolved(newer), record))
    assert read == label(source=LabelSource.UNKNOWN)


def test_an_older_writer_is_understood(codec):
    """A schema that lacks an optional field: the field has its default."""
    older = json.loads(schema_text("dead_letter"))
    older["fields"] = [field for field in older["fields"] if field["name"] != "study_uid"]
    record = {
        "event_id": derived_id("letter"),
        "code_version": "0",
        "stage": "preprocess",
        "error_class": "x",
        "reason": "y",
        "topic": "t",
        "partition": 0,
        "offset": 1,
        "source_event_id": None,
        "image_event_id": None,
        "failed_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    assert codec.decode(DEAD_LETTERS, write_with(codec, json.dumps(older), record)).study_uid is None


def test_ids_depend_on_every_part_and_on_nothing_else():
    assert derived_id("a", "b") == derived_id("a", "b") != derived_id("ab")
    assert derived_id("a", b"\x01") != derived_id("a", b"\x02")
    assert image_event_id(bytes(32)).version == 5
