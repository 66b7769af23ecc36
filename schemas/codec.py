"""Events to bytes and back: Avro in the Confluent wire format.

A value is the magic byte 0, the schema's id as four bytes big endian, then the Avro body. The reader resolves the
writer's schema (Avro 1.12, "Schema Resolution"), so that older and newer writers are both understood.
"""

import json
import struct
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Protocol, TypeVar

import fastavro
from fastavro.types import Schema
from pydantic import ValidationError

from schemas.events import Event
from schemas.topics import Topic

MAGIC = 0
HEADER = struct.Struct(">bI")

E = TypeVar("E", bound=Event)


class CodecError(Exception):
    """A value that is no event of the expected kind; `error_class` names the cause in a fixed word."""

    error_class = "undecodable"


class NotConfluentFormat(CodecError):
    """The value does not begin with the Confluent header."""

    error_class = "not_confluent_format"


class UnknownSchema(CodecError):
    """The registry does not know the schema id in the value's header."""

    error_class = "unknown_schema"


class CorruptAvro(CodecError):
    """The body does not match its schema, or the record breaks the event's contract."""

    error_class = "corrupt_avro"


class SchemaRegistry(Protocol):
    """What the codec needs of a registry; `schemas.registry` holds the real one and an in-memory twin."""

    def schema_id(self, subject: str, schema: str) -> int:
        """The id of `schema` under `subject`, where it must have been registered."""

    def schema(self, schema_id: int) -> str:
        """The schema with this id; raises `UnknownSchema`."""


@cache
def schema_text(name: str) -> str:
    """The Avro schema `schemas/avro/<name>.avsc`, as JSON."""
    return (files("schemas") / "avro" / f"{name}.avsc").read_text("utf-8")


@cache
def _parsed(text: str) -> Schema:
    """One object for one schema, however a registry spaces it: fastavro asks whether the writer's is the reader's."""
    return _parsed_compact(json.dumps(json.loads(text)))


@cache
def _parsed_compact(text: str) -> Schema:
    return fastavro.parse_schema(json.loads(text))


@cache
def _payload_field(text: str) -> str | None:
    """The name of the schema's last field, if that is its payload: plain bytes."""
    last = json.loads(text)["fields"][-1]
    return str(last["name"]) if last["type"] == "bytes" else None


class Codec:
    """Encodes and decodes the events of one site's topics; thread-safe for what confluent-kafka's client is."""

    def __init__(self, registry: SchemaRegistry, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix
        self._ids: dict[str, int] = {}
        self._writers: dict[int, Schema] = {}

    def encode(self, topic: Topic[Event], event: Event) -> bytes:
        """The event as a record's value.

        Raises:
            TypeError: the event is not of the topic's kind.
        """
        if not isinstance(event, topic.event):
            raise TypeError(f"{topic.name} carries {topic.event.__name__}, not {type(event).__name__}")
        header = HEADER.pack(MAGIC, self._schema_id(topic))
        return b"".join((header, *_body(schema_text(topic.schema), event.model_dump())))

    def decode(self, topic: Topic[E], value: bytes | None) -> E:
        """The event in a record's value.

        Raises:
            CodecError: the value is no such event; the message holds nothing of its content.
        """
        writer_id = schema_id(value)
        if value is None or writer_id is None:
            raise NotConfluentFormat("the value does not begin with a Confluent schema header")
        writer, reader = self._writer(writer_id), _parsed(schema_text(topic.schema))
        body = BytesIO(value)
        body.seek(HEADER.size)
        try:
            record = fastavro.schemaless_reader(body, writer, reader)
        except Exception as error:  # fastavro raises whatever the bytes lead it to
            raise CorruptAvro(f"the Avro body does not match schema {writer_id} ({type(error).__name__})") from None
        if body.tell() != len(value):
            raise CorruptAvro(f"{len(value) - body.tell()} bytes follow the Avro body of schema {writer_id}")
        return _validated(record, topic.event)

    def _schema_id(self, topic: Topic[Event]) -> int:
        subject = f"{topic.full_name(self._prefix)}-value"
        if subject not in self._ids:
            self._ids[subject] = self._registry.schema_id(subject, schema_text(topic.schema))
        return self._ids[subject]

    def _writer(self, schema_id: int) -> Schema:
        if schema_id not in self._writers:
            self._writers[schema_id] = _parsed(self._registry.schema(schema_id))
        return self._writers[schema_id]


def _body(schema: str, record: dict[str, object]) -> tuple[bytes, ...]:
    """The record in pieces, so that a large payload is copied once, when they are joined.

    fastavro writes into a buffer that grows, which takes thirty times as long for 7 MB. Here it writes the record
    without its payload. The last byte of that is the payload's length, a zero, and the length that it has and its bytes
    take that place (Avro 1.12, "Binary Encoding").
    """
    field = _payload_field(schema)
    payload = b"" if field is None else record[field]
    body = BytesIO()
    if not isinstance(payload, bytes) or not payload:
        fastavro.schemaless_writer(body, _parsed(schema), record)
        return (body.getvalue(),)
    fastavro.schemaless_writer(body, _parsed(schema), {**record, field: b""})
    return body.getvalue()[:-1], _long(len(payload)), payload


def _long(number: int) -> bytes:
    """A number from 0 up as Avro writes a long: doubled (zigzag), seven bits a byte, the lowest first."""
    rest, encoded = number << 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def schema_id(value: bytes | None) -> int | None:
    """The id of the schema that the value was written with; None if it does not begin with a Confluent header."""
    if value is None or len(value) < HEADER.size or value[0] != MAGIC:
        return None
    return int(HEADER.unpack_from(value)[1])


def _validated(record: object, kind: type[E]) -> E:
    if not isinstance(record, Mapping):
        raise CorruptAvro("the Avro body is not a record")
    try:
        return kind.model_validate(record)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc']))} {p['type']}" for p in error.errors(include_input=False)]
        raise CorruptAvro(f"the record breaks the contract of {kind.__name__}: {', '.join(problems)}") from None
