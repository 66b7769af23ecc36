"""Errors as librdkafka raises them."""

from confluent_kafka import KafkaError, KafkaException


def failure(
    code: int, reason: str, *, fatal: bool = False, retriable: bool = False, requires_abort: bool = False
) -> KafkaException:
    """The exception that carries this error."""
    return KafkaException(KafkaError(code, reason, fatal, retriable, requires_abort))
