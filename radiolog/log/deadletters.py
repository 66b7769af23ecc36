"""Dead letters as they stand: the topic, folded by event_id.

A stage that gives up on an event writes a letter (`radiolog.log.transform.dead_letter`), and a retry writes the same
letter again with `retried_at` (`radiolog.log.retry`). If the event fails once more, its letter has the same event_id,
since that follows from the event's. So one event_id has any number of records, and they say together:

    failed at 1                                   OPEN
    failed at 1, retried at 2                     RETRIED
    failed at 1, retried at 2, failed at 3        FAILED_AGAIN: open once more
    ... retried at 4                              RETRIED

The record with the latest `failed_at` counts, and among those of one failure the one with the latest `retried_at`
(`version`). That is a maximum: the order in which records are read does not matter, nor does it if one comes twice, so
an older record undoes nothing. The table `dead_letter` follows the same law (`sinks.rows`). Times of different clocks
are never compared, but for those of a stage's instances among themselves.

A letter of a record that could not be read follows from its coordinates, for want of an event_id. Such a record has
new ones after a retry, so that its next failure is a letter of its own.

Letters of a sink are in its store alone and not on the topic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from radiolog.log.api import Clients
from radiolog.log.clients import KafkaClients
from radiolog.log.replay import RecordGone, Slice, pin, read, record_at
from radiolog.log.stage import Coordinates, Received
from radiolog.log.trace import TraceContext
from radiolog.settings import Settings
from schemas.codec import Codec, schema_id
from schemas.events import DeadLetter
from schemas.topics import DEAD_LETTERS

NEVER = datetime.min.replace(tzinfo=UTC)

Version = tuple[datetime, datetime]
"""When the event failed, and when that was retried (`NEVER` if it was not): the greatest is the latest word."""


class State(StrEnum):
    """Where a letter stands; the module's text says when which."""

    OPEN = "open"
    RETRIED = "retried"
    FAILED_AGAIN = "failed again"


@dataclass(frozen=True, slots=True)
class Standing:
    """What all records of one event_id say together."""

    latest: Version
    retried_at: datetime | None

    @property
    def state(self) -> State:
        """Where the letter stands."""
        if self.latest[1] != NEVER:
            return State.RETRIED
        return State.OPEN if self.retried_at is None else State.FAILED_AGAIN

    def also(self, letter: DeadLetter) -> "Standing":
        """With one more record."""
        retries = [time for time in (self.retried_at, letter.retried_at) if time is not None]
        return Standing(max(self.latest, version(letter)), max(retries, default=None))


@dataclass(frozen=True, slots=True)
class Case:
    """A letter, as its latest record has it.

    Attributes:
        letter: the record.
        state: where it stands.
        retried_at: when its event was last retried, however that ended; None if it never was.
    """

    letter: DeadLetter
    state: State
    retried_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it waits to be retried."""
        return self.state is not State.RETRIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which letters: of a stage, of an error class, failed at or after `since`, and only those that are open."""

    stage: str | None = None
    error_class: str | None = None
    since: datetime | None = None
    only_open: bool = False

    def takes(self, case: Case) -> bool:
        """Whether the letter is one of them."""
        letter = case.letter
        return (
            self.stage in (None, letter.stage)
            and self.error_class in (None, letter.error_class)
            and (self.since is None or letter.failed_at >= self.since)
            and (case.is_open or not self.only_open)
        )


EVERY = Filter()


@dataclass(frozen=True, slots=True)
class Source:
    """What the log holds at a letter's coordinates: nothing of its content.

    Attributes:
        size: of the record's value, in bytes.
        schema_id: in the registry; None if the value does not begin with a Confluent header.
        trace_id: from the record's headers; None if they bear none.
    """

    size: int
    schema_id: int | None
    trace_id: str | None


class DeadLetters:
    """The dead letters of a site.

    Args:
        settings: Names of the log.
        codec: Between records and events.
        clients: How to reach the log; by default Kafka, where the settings say.
    """

    def __init__(self, settings: Settings, codec: Codec, clients: Clients | None = None) -> None:
        self._settings = settings
        self._codec = codec
        self._clients = clients or KafkaClients(settings)

    def pinned(self) -> Slice[DeadLetter]:
        """The topic as it stands now; raises `LogError`."""
        return pin(self._settings, DEAD_LETTERS, self._clients)

    def find(self, wanted: Filter = EVERY, within: Slice[DeadLetter] | None = None) -> Iterator[Case]:
        """The letters, one by one in the order of the log.

        The topic is read twice, up to where it ends now or `within` says: to learn where each letter stands, which
        takes some hundred bytes each, and then for the letters themselves. Records that are no letters are passed over.

        Raises:
            LogError: the broker can't be reached, or has no such topic.
        """
        pinned = within or self.pinned()
        standings: dict[UUID, Standing] = {}
        for letter in self._letters(pinned):
            standings[letter.event_id] = fold(standings.get(letter.event_id), letter)
        for letter in self._letters(pinned):
            standing = standings.get(letter.event_id)
            if standing is not None and version(letter) == standing.latest:
                del standings[letter.event_id]
                case = Case(letter, standing.state, standing.retried_at)
                if wanted.takes(case):
                    yield case

    def one(self, event_id: UUID) -> Case | None:
        """The letter with this id; None if there is none. Raises `LogError`."""
        return next((case for case in self.find() if case.letter.event_id == event_id), None)

    def source(self, letter: DeadLetter) -> Source | None:
        """What the log holds at the letter's coordinates; None if the record is gone. Raises `LogError`."""
        try:
            message = record_at(self._settings, place(letter), self._clients)
        except RecordGone:
            return None
        value, trace = message.value() or b"", TraceContext.of(message.headers())
        return Source(len(value), schema_id(value), trace.trace_id if trace else None)

    def has(self, letter: DeadLetter, within: Slice[DeadLetter]) -> bool:
        """Whether this very record is among those of the slice; raises `LogError`."""
        return any(found == letter for found in self._letters(within))

    def _letters(self, wanted: Slice[DeadLetter]) -> Iterator[DeadLetter]:
        for item in read(self._settings, self._codec, wanted, self._clients):
            if isinstance(item, Received):
                yield item.event


def fold(standing: Standing | None, letter: DeadLetter) -> Standing:
    """Where a letter stands after one more of its records."""
    return standing.also(letter) if standing else Standing(version(letter), letter.retried_at)


def version(letter: DeadLetter) -> Version:
    """What decides which of two records of one letter counts."""
    return letter.failed_at, letter.retried_at or NEVER


def place(letter: DeadLetter) -> Coordinates:
    """Where its event stands."""
    return Coordinates(letter.topic, letter.partition, letter.offset)
