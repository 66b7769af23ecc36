"""The Schema Registry: the real one, through Confluent's client, and its in-memory twin."""

import json
import time
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from radiolog.settings import Settings
from schemas.codec import Codec, UnknownSchema

COMPATIBILITY = "FULL_TRANSITIVE"
CONFIRM_SECONDS = 3.0


class RegistryError(Exception):
    """The root of what a registry can answer."""


class RegistryUnavailable(RegistryError):
    """The registry cannot be reached or is failing; the same call may go through later."""


class SchemaNotRegistered(RegistryError):
    """The subject does not hold this schema; `radiolog topics apply` registers it."""


class IncompatibleSchema(RegistryError):
    """The registry refuses the schema: readers or writers of earlier versions would break."""


class ConfluentRegistry:
    """Any registry that speaks Confluent's API: Apicurio (ccompat v7), Confluent, Karapace, Redpanda."""

    def __init__(self, client: SchemaRegistryClient) -> None:
        self._client = client

    @classmethod
    def from_settings(cls, settings: Settings) -> "ConfluentRegistry":
        """The registry that the settings name."""
        config: dict[str, Any] = {"url": settings.schema_registry_url, "timeout": 10, "max.retries": 3}
        if settings.schema_registry_username is not None and settings.schema_registry_password is not None:
            password = settings.schema_registry_password.get_secret_value()
            config["basic.auth.user.info"] = f"{settings.schema_registry_username}:{password}"
        return cls(SchemaRegistryClient(config))

    def schema_id(self, subject: str, schema: str) -> int:
        """The id of `schema` under `subject`.

        Raises:
            SchemaNotRegistered: the subject does not hold it.
            RegistryUnavailable: no answer.
        """
        try:
            return self._looked_up(subject, schema)
        except SchemaNotRegistered:
            time.sleep(CONFIRM_SECONDS)  # Apicurio says so while it starts, of what it has not read yet
            return self._looked_up(subject, schema)

    def _looked_up(self, subject: str, schema: str) -> int:
        try:
            registered = self._client.lookup_schema(subject, Schema(schema, "AVRO"))
        except Exception as error:
            if _status(error) == 404:
                message = f"{subject} does not hold this version's schema: run `radiolog topics apply`"
                raise SchemaNotRegistered(message) from None
            raise _translated(error) from error
        return _known(registered.schema_id)

    def schema(self, schema_id: int) -> str:
        """The schema with this id, as JSON.

        Raises:
            UnknownSchema: there is none.
            RegistryUnavailable: no answer.
        """
        try:
            return str(self._client.get_schema(schema_id).schema_str)
        except Exception as error:
            if _status(error) == 404:
                raise UnknownSchema(f"the registry does not know schema id {schema_id}") from None
            raise _translated(error) from error

    def register(self, subject: str, schema: str) -> int:
        """Registers `schema` under `subject` and gives its id; idempotent.

        The subject's compatibility is set first, before its first version, since servers differ in their default
        (Apicurio's is NONE).

        Raises:
            IncompatibleSchema: the registry refuses it.
            RegistryUnavailable: no answer.
        """
        try:
            self._client.set_compatibility(subject_name=subject, level=COMPATIBILITY)
            return _known(self._client.register_schema(subject, Schema(schema, "AVRO")))
        except Exception as error:
            if _status(error) in (409, 422):
                raise IncompatibleSchema(f"{subject}: not {COMPATIBILITY} with its earlier versions") from None
            raise _translated(error) from error

    def compatibility(self, subject: str) -> str:
        """The compatibility level set for `subject`."""
        try:
            return str(self._client.get_compatibility(subject_name=subject))
        except Exception as error:
            raise _translated(error) from error


class MemoryRegistry:
    """A registry in this process, for tests and tools; it checks no compatibility."""

    def __init__(self) -> None:
        self._schemas: list[str] = []

    def schema_id(self, subject: str, schema: str) -> int:
        """The id of `schema`, which is made known if it was not."""
        return self.register(subject, schema)

    def schema(self, schema_id: int) -> str:
        """The schema with this id; raises `UnknownSchema`."""
        if not 1 <= schema_id <= len(self._schemas):
            raise UnknownSchema(f"the registry does not know schema id {schema_id}")
        return self._schemas[schema_id - 1]

    def register(self, subject: str, schema: str) -> int:
        """The id of `schema`; ids count from 1."""
        canonical = json.dumps(json.loads(schema))
        if canonical not in self._schemas:
            self._schemas.append(canonical)
        return self._schemas.index(canonical) + 1


def codec(settings: Settings) -> Codec:
    """The codec of the site that the settings name."""
    return Codec(ConfluentRegistry.from_settings(settings), settings.topic_prefix)


def _status(error: Exception) -> int | None:
    return error.http_status_code if isinstance(error, SchemaRegistryError) else None


def _known(schema_id: int | None) -> int:
    if schema_id is None:
        raise RegistryUnavailable("the registry answered without a schema id")
    return schema_id


def _translated(error: Exception) -> RegistryError:
    status = _status(error)
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        return RegistryError(f"the Schema Registry refused the call: HTTP {status}")
    return RegistryUnavailable(f"the Schema Registry does not answer ({type(error).__name__})")
