"""Configured Kafka clients. Every size limit of the log is set here, once (KIP-98 transactions, KIP-345 membership)."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import confluent_kafka as kafka
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from radiolog.log.api import Consumer, Producer
from radiolog.log.errors import LogRefused, LogUnavailable, kafka_error, translated
from radiolog.settings import Settings

T = TypeVar("T")

AVRO_OVERHEAD_BYTES = 1 << 16
FRAMING_BYTES = 1 << 20
LOGGER = "radiolog.kafka"
ANSWER_SECONDS = 10
MAX_POLL_SECONDS = 300
"""How long a member may go without a poll: longer than its transaction and its store may take; work is attended."""


def max_record_bytes(settings: Settings) -> int:
    """Largest record value: the inline payload and the Avro fields around it, in bytes."""
    return settings.inline_max_bytes + AVRO_OVERHEAD_BYTES


def max_message_bytes(settings: Settings) -> int:
    """Largest record batch that clients and topics let through, in bytes."""
    return max_record_bytes(settings) + FRAMING_BYTES


def quiet_logger() -> logging.Logger:
    """Takes the client library's own messages; `radiolog.service` sends them where the others go."""
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def base_config(settings: Settings) -> dict[str, Any]:
    """What every client needs to reach the brokers."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap_servers,
        "logger": quiet_logger(),
        "security.protocol": settings.security_protocol,
        "topic.metadata.refresh.interval.ms": 30_000,
        "reconnect.backoff.max.ms": 2_000,
    }
    if settings.security_protocol.startswith("SASL") and settings.sasl_password is not None:
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username
        config["sasl.password"] = settings.sasl_password.get_secret_value()
    locations = {
        "ssl.ca.location": settings.ssl_ca_location,
        "ssl.certificate.location": settings.ssl_certificate_location,
        "ssl.key.location": settings.ssl_key_location,
    }
    return config | {name: str(path) for name, path in locations.items() if path is not None}


def producer_config(settings: Settings) -> dict[str, Any]:
    """An idempotent producer that gives up after 15 s, before DICOM peers lose patience.

    One request is under way at a time. A broker that knows nothing of a producer yet takes whatever sequence number
    comes first (Kafka's ProducerAppendInfo.checkSequence). So of two requests, the first may be turned away by a broker
    that is just becoming the partition's leader, and the second taken; librdkafka concludes that the first was, too,
    and reports it as delivered, though it is nowhere (tests/faults/test_new_producers.py).
    """
    return base_config(settings) | {
        "enable.idempotence": True,
        "acks": "all",
        "max.in.flight.requests.per.connection": 1,
        "linger.ms": 0,
        "delivery.timeout.ms": 15_000,
        "message.max.bytes": max_message_bytes(settings),
        "queue.buffering.max.kbytes": 16 * max_message_bytes(settings) // 1024,
    }


def transactional_config(settings: Settings, transactional_id: str) -> dict[str, Any]:
    """A producer of exactly-once stages.

    The short backoff matters: back-to-back transactions meet CONCURRENT_TRANSACTIONS and wait for it each time.
    """
    return producer_config(settings) | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": 60_000,
        "delivery.timeout.ms": 30_000,
        "linger.ms": 2,
        "retry.backoff.ms": 5,
        "retry.backoff.max.ms": 20,
    }


def consumer_config(settings: Settings) -> dict[str, Any]:
    """A consumer of committed records with small queues, since one message pins its whole fetch buffer.

    They hold what fills a batch, so that the next one is there when a batch is done, and little more.
    The short backoff matters here too: a fetch fills a small queue, and the next one would wait a second otherwise.
    """
    message_bytes = max_message_bytes(settings)
    return base_config(settings) | {
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "max.partition.fetch.bytes": message_bytes,
        "fetch.max.bytes": 2 * message_bytes,
        "receive.message.max.bytes": 4 * message_bytes,
        "queued.min.messages": 64,
        "queued.max.messages.kbytes": 8 * message_bytes // 1024,
        "fetch.queue.backoff.ms": 10,
        "fetch.wait.max.ms": 100,
    }


def member_config(settings: Settings, group: str, instance: str) -> dict[str, Any]:
    """A static member of a consumer group (KIP-345): a quick restart keeps its partitions, without a rebalance."""
    return consumer_config(settings) | {
        "group.id": group,
        "group.instance.id": instance,
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 1_500,
        "max.poll.interval.ms": MAX_POLL_SECONDS * 1000,
        "partition.assignment.strategy": "cooperative-sticky",
    }


def admin(settings: Settings) -> AdminClient:
    """An admin client."""
    return _made(AdminClient, base_config(settings))


class KafkaClients:
    """The clients of the brokers that the settings name; `radiolog.log.api.Clients` says what each is for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def member(self, group: str, instance: str) -> Consumer:
        """A consumer that shares topics with its group."""
        return _made(kafka.Consumer, member_config(self._settings, group, instance))

    def reader(self) -> Consumer:
        """A consumer that reads what it is assigned and commits nothing; it reports the end of each partition."""
        group = f"{self._settings.app}-reader"
        config = consumer_config(self._settings) | {"group.id": group, "enable.partition.eof": True}
        return _made(kafka.Consumer, config)

    def holder(self, group: str, instance: str) -> str:
        """The member id of the static member that bears this name in the group now; empty if none does."""
        client = admin(self._settings)  # an answer does not come any more once its client is gone
        try:
            answer = client.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)[group]
            members = answer.result(2 * ANSWER_SECONDS).members
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception
        except TimeoutError as exception:
            raise LogUnavailable(f"the coordinator of {group} does not answer") from exception
        return next((str(one.member_id) for one in members if one.group_instance_id == instance), "")

    def observer(self) -> Consumer:
        """A consumer for questions alone: its watermarks count what open transactions hold, too."""
        group = f"{self._settings.app}-observer"
        config = consumer_config(self._settings) | {"group.id": group, "isolation.level": "read_uncommitted"}
        return _made(kafka.Consumer, config)

    def producer(self, on_error: Callable[[KafkaError], None]) -> Producer:
        """A producer for adapters."""
        return _made(kafka.Producer, producer_config(self._settings) | {"error_cb": on_error})

    def transactional_producer(self, transactional_id: str) -> Producer:
        """A producer for a stage."""
        return _made(kafka.Producer, transactional_config(self._settings, transactional_id))


def _made(client: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    """A client; a wrong setting, such as a certificate that can't be read, is `LogRefused`."""
    try:
        return client(config)
    except KafkaException as exception:
        raise LogRefused(f"a RADIOLOG_ setting for Kafka is wrong: {kafka_error(exception).str()}") from exception
