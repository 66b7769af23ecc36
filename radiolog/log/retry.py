"""Puts rejected events on their topic once more.

The contract:

1. The record at the letter's coordinates is written again as it is: bytes, key and headers, its trace one step on. The
   letter is written again with `retried_at`. Both are one Kafka transaction: a retry that ends halfway did nothing.
2. The record comes once more with the event_id that it had, and what is derived from it has the ids that it would have
   had the first time: the topics hold one result, since the first attempt left none, and PostgreSQL keeps one row even
   of an event that is retried after a success (`again`).
3. One retry at a time: the transactional id is the site's, and it is taken over before the letters are read. Who held
   it before is fenced, and whatever that one has committed is seen.
4. A record that is gone from the log, and a letter that is retried already, are told apart and left alone.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from confluent_kafka import Message

from radiolog.log.api import Clients, Producer
from radiolog.log.clients import KafkaClients
from radiolog.log.deadletters import EVERY, Case, DeadLetters, Filter, place
from radiolog.log.errors import Fenced, LogUnavailable
from radiolog.log.replay import RecordGone, Slice, record_at
from radiolog.log.trace import TRACEPARENT, TRACESTATE, Header, TraceContext
from radiolog.log.transactions import OutgoingRecord, Transactions, Unsettled
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import DeadLetter
from schemas.topics import DEAD_LETTERS

ATTEMPTS = 5
PAUSE_SECONDS = 0.2


class Overtaken(Fenced):
    """Another retry has begun since; what this one had not done by then is left to that one."""


class Outcome(StrEnum):
    """What came of one retry."""

    RETRIED = "retried"
    GONE = "gone"
    ALREADY = "already retried"


@dataclass(frozen=True, slots=True)
class Retried:
    """A letter as it stands now, and what came of its retry."""

    letter: DeadLetter
    outcome: Outcome


class Retry:
    """Retries letters one by one, each in a transaction of its own; see the contract at the top of this module.

    Args:
        settings: Names of the log.
        codec: Between records and events.
        clients: How to reach the log; by default Kafka, where the settings say.

    Raises:
        LogUnavailable: the log does not answer.
        LogError: it refuses this producer, or has no such topic.
    """

    def __init__(self, settings: Settings, codec: Codec, clients: Clients | None = None) -> None:
        self._settings = settings
        self._codec = codec
        self._clients = clients or KafkaClients(settings)
        self._letters = DeadLetters(settings, codec, self._clients)
        self._stop = threading.Event()
        self._letters.pinned()  # a log that does not answer is told at once
        self._transactions = Transactions(self._producer, self._stop, on_obstacle=lambda _: self._stop.set())
        self._pinned = self._letters.pinned()

    def find(self, wanted: Filter = EVERY) -> Iterator[Case]:
        """The letters as they stood when this began; raises `LogError`."""
        return self._letters.find(wanted, self._pinned)

    def one(self, case: Case, again: bool = False) -> Retried:
        """Retries one letter; one that is retried already only if `again` says so.

        Raises:
            Overtaken: another retry has begun since; nothing was done.
            LogUnavailable: the log does not answer; nothing was done, or all of it.
            RegistryError: the letter's schema can't be had; nothing was done.
        """
        if not (case.is_open or again):
            return Retried(case.letter, Outcome.ALREADY)
        try:
            message = record_at(self._settings, place(case.letter), self._clients)
        except RecordGone:
            return Retried(case.letter, Outcome.GONE)
        letter = case.letter.model_copy(update={"retried_at": datetime.now(UTC)})
        self._commit(self._records(message, letter), letter)
        return Retried(letter, Outcome.RETRIED)

    def close(self) -> None:
        """Lets go of the log."""
        self._transactions.close()

    def __enter__(self) -> "Retry":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _producer(self) -> Producer:
        return self._clients.transactional_producer(f"{self._settings.app}-dlq-retry")

    def _records(self, message: Message, letter: DeadLetter) -> list[OutgoingRecord]:
        parent = TraceContext.of(message.headers())
        trace = parent.child() if parent else TraceContext.begin()
        headers: list[Header] = message.headers() or []  # type: ignore[assignment]
        kept = [header for header in headers if header[0].lower() not in (TRACEPARENT, TRACESTATE)]
        topic = DEAD_LETTERS.full_name(self._settings.topic_prefix)
        return [
            OutgoingRecord(str(message.topic()), message.key(), message.value(), (*kept, *trace.headers)),
            OutgoingRecord(topic, letter.key, self._codec.encode(DEAD_LETTERS, letter), trace.headers),
        ]

    def _commit(self, records: list[OutgoingRecord], letter: DeadLetter) -> None:
        """Both records or neither; where the outcome is not known, the topic itself says."""
        for _ in range(ATTEMPTS):
            try:
                self._transactions.run(records)
                return
            except Fenced:
                raise Overtaken("another `radiolog dlq retry` has begun since: see what it does, then go on") from None
            except Unsettled:
                pass  # whether it counted is not known yet
            if self._letters.has(letter, self._since()):
                return
            self._stop.wait(PAUSE_SECONDS)
        raise LogUnavailable(f"the log did not take the retry of {letter.event_id} in {ATTEMPTS} attempts")

    def _since(self) -> Slice[DeadLetter]:
        """What has come since this began."""
        now = self._letters.pinned()
        return Slice(now.topic, {p: self._pinned.end.get(p, start) for p, start in now.start.items()}, now.end)
