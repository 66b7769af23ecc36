"""Avro as Confluent's guide shows it: AvroSerializer, AvroDeserializer, a plain class and two functions for it."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from answering import answer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

HEADER_BYTES = 5


@dataclass
class Source:
    """Where an image came from."""

    kind: str
    peer: str
    adapter: str


@dataclass
class Image:
    """An ImageEvent, as a user would write it who validates nothing."""

    event_id: Any
    patient_pseudonym: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str | None
    body_part: str | None
    view_position: str | None
    burned_in_annotation: bool | None
    deidentification: str
    source: Source
    acquired_at: Any
    received_at: Any
    published_at: Any
    received_bytes: int
    received_sha256: bytes
    code_version: str
    payload_ref: Any
    payload: bytes


def to_dict(image: Image, _: SerializationContext) -> dict[str, Any]:
    """For the serializer."""
    return {**vars(image), "source": vars(image.source)}


def from_dict(record: dict[str, Any], _: SerializationContext) -> Image:
    """For the deserializer."""
    return Image(**{**record, "source": Source(**record["source"])})


@dataclass
class Prepared:
    """What the turns need: an event, the same in bytes, and both ways."""

    image: Image
    value: bytes
    serialize: Callable[[Image, SerializationContext], bytes]
    deserialize: Callable[[bytes, SerializationContext], Image]
    context: SerializationContext


@cache
def _prepared(file: str, schema: str) -> Prepared:
    text, body = Path(schema).read_text(), Path(file).read_bytes()[HEADER_BYTES:]
    record = fastavro.schemaless_reader(BytesIO(body), json.loads(text), None)
    registry = SchemaRegistryClient.new_client({"url": "mock://"})
    context = SerializationContext("imaging.images", MessageField.VALUE)
    serializer = AvroSerializer(registry, text, to_dict)
    deserializer = AvroDeserializer(registry, text, from_dict)
    image = from_dict(record, context)
    return Prepared(image, serializer(image, context), serializer, deserializer, context)


def prepare(file: str, schema: str) -> dict[str, bool]:
    """Whether it writes and reads the same event as the file holds."""
    ready = _prepared(file, schema)
    same_bytes = ready.value[HEADER_BYTES:] == Path(file).read_bytes()[HEADER_BYTES:]
    again = ready.deserialize(ready.value, ready.context)
    return {"same": same_bytes and asdict(again) == asdict(ready.image)}


def encode(file: str, schema: str, repeats: int) -> dict[str, float]:
    """Events in a second."""
    ready = _prepared(file, schema)
    return _rate(lambda: ready.serialize(ready.image, ready.context), repeats)


def decode(file: str, schema: str, repeats: int) -> dict[str, float]:
    """Events in a second."""
    ready = _prepared(file, schema)
    return _rate(lambda: ready.deserialize(ready.value, ready.context), repeats)


def _rate(work: Callable[[], object], repeats: int) -> dict[str, float]:
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return {"reached": repeats / (time.perf_counter() - began)}


if __name__ == "__main__":
    answer({"prepare": prepare, "encode": encode, "decode": decode})
