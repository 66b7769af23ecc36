"""Every error of the client library has a meaning here; a new one has to be given one."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from radiolog.log.errors import (
    FENCED,
    TOO_LARGE,
    UNAVAILABLE,
    UNKNOWN_OUTCOME,
    DeliveryUnknown,
    Fenced,
    LogRefused,
    LogUnavailable,
    MemberFenced,
    RecordTooLarge,
    translated,
)

# Errors that a person has to look at, by name; whatever is in no other set belongs here, by decision.
REFUSED = set((Path(__file__).parent / "refused_kafka_errors.txt").read_text().split())
CODES = {name: value for name, value in vars(KafkaError).items() if name.isupper() and isinstance(value, int)}


def test_every_error_of_the_library_is_mapped():
    known = UNAVAILABLE | FENCED | TOO_LARGE | UNKNOWN_OUTCOME
    assert {name for name, code in CODES.items() if code not in known} == REFUSED


def test_no_error_is_mapped_twice():
    sets = (UNAVAILABLE, FENCED, TOO_LARGE, UNKNOWN_OUTCOME)
    assert sum(map(len, sets)) == len(frozenset().union(*sets))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_ALL_BROKERS_DOWN", LogUnavailable),
        ("NETWORK_EXCEPTION", LogUnavailable),
        ("KAFKA_STORAGE_ERROR", LogUnavailable),
        ("_MSG_TIMED_OUT", DeliveryUnknown),
        ("MSG_SIZE_TOO_LARGE", RecordTooLarge),
        ("PRODUCER_FENCED", Fenced),
        ("FENCED_INSTANCE_ID", MemberFenced),
        ("TOPIC_AUTHORIZATION_FAILED", LogRefused),
        ("_INVALID_ARG", LogRefused),
    ],
)
def test_what_each_means(name, kind):
    assert type(translated(KafkaError(CODES[name]))) is kind


def test_a_consumer_that_is_fenced_says_so_in_words_alone():
    cause = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
    assert type(translated(KafkaError(KafkaError._FATAL, f"Fatal error: {cause}", True))) is MemberFenced
    assert type(translated(KafkaError(KafkaError._FATAL, "Fatal error: another", True))) is LogRefused
