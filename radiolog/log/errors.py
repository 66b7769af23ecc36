"""What can go wrong with the log.

LogError
├── LogUnavailable    no answer in time; the same call may go through later
│   └── DeliveryUnknown   the broker may or may not hold the records: send them again, that does no harm
├── RecordTooLarge    the record does not fit the log's limits; sending it again will not help
├── Fenced            another instance with the same transactional id took over; this one must stop
│   └── MemberFenced      so says the group, or the client library alone (`radiolog.log.membership`)
└── LogRefused        the broker says no (authorisation, unknown topic, configuration); a person must act
"""

from confluent_kafka import KafkaError, KafkaException


class LogError(Exception):
    """The root of what the log can answer."""


class LogUnavailable(LogError):
    """No broker answers in time; the same call may go through later."""


class DeliveryUnknown(LogUnavailable):
    """The broker may or may not hold the records; sending them again does no harm."""


class RecordTooLarge(LogError):
    """The record does not fit the log's limits."""


class Fenced(LogError):
    """Another instance with the same transactional id took over (KIP-98)."""


class MemberFenced(Fenced):
    """Another member of the same name is in the group (KIP-345), if the client library is right."""


class LogRefused(LogError):
    """The broker says no; a person must act."""


TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
UNKNOWN_OUTCOME = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError._PURGE_INFLIGHT})
UNAVAILABLE = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._CONFLICT,
        KafkaError._DESTROY,
        KafkaError._DESTROY_BROKER,
        KafkaError._IN_PROGRESS,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._NODE_UPDATE,
        KafkaError._PARTIAL,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError._PURGE_QUEUE,
        KafkaError._QUEUE_FULL,
        KafkaError._RESOLVE,
        KafkaError._RETRY,
        KafkaError._REVOKE_PARTITIONS,
        KafkaError._ASSIGN_PARTITIONS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_CACHE,
        KafkaError._WAIT_COORD,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.ELECTION_NOT_NEEDED,
        KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.REASSIGNMENT_IN_PROGRESS,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.STALE_BROKER_EPOCH,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)


def kafka_error(exception: KafkaException) -> KafkaError:
    """The error inside a `KafkaException`."""
    error = exception.args[0]
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._FAIL, str(error))


def translated(error: KafkaError) -> LogError:
    """The log's own name for an error of the client library.

    Anything unknown is `LogRefused`: it stops what it meets until a person has looked.
    """
    code, text = error.code(), f"{error.name()}: {error.str()}"
    causes = {code} | {cause for cause in FENCED if code == KafkaError._FATAL and KafkaError(cause).str() in text}
    if KafkaError.FENCED_INSTANCE_ID in causes:
        return MemberFenced(text)
    if causes & FENCED:
        return Fenced(text)
    if code in TOO_LARGE:
        return RecordTooLarge(text)
    if code in UNKNOWN_OUTCOME:
        return DeliveryUnknown(text)
    if code in UNAVAILABLE or error.retriable():
        return LogUnavailable(text)
    return LogRefused(text)
