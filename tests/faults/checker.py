"""What became of every record that was published: one result in each derived topic, one row in each table.

Each claim is a `Count`: the keys that must be found once, and those that were found. A key that is missing is lost; one
that is found more often than it may be is doubled; one that nothing accounts for is stray. All of them are counted on
what `read_committed` readers and PostgreSQL see after the last process of the run has ended.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from radiolog.log.replay import Unreadable, pin, read
from radiolog.log.stage import Coordinates, Received
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import DeadLetter, Event, derived_id
from schemas.topics import DEAD_LETTERS, DIAGNOSES, IDENTITIES, IMAGES, PREPROCESSED, Topic

SINK = "postgres"
CHECKED: tuple[Topic[Event], ...] = (IMAGES, PREPROCESSED, DIAGNOSES, DEAD_LETTERS, IDENTITIES)
KEYS = {
    "diagnosis": "select event_id from diagnosis",
    "finding": "select diagnosis_event_id, code from finding",
    "dead_letter": "select event_id from dead_letter",
    "identity": "select pseudonym from restricted.identity",
}
"""What tells the rows of each table apart."""


@dataclass
class Ledger:
    """What was published: how often the broker acknowledged each event, and how often it was asked to take it.

    Its methods may be called while other threads publish.
    """

    acknowledged: Counter[tuple[str, UUID]] = field(default_factory=Counter)
    attempted: Counter[tuple[str, UUID]] = field(default_factory=Counter)
    raw: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, keys: Iterable[tuple[str, UUID]]) -> None:
        """Notes that the broker is asked to take these events."""
        with self._lock:
            self.attempted.update(keys)

    def acknowledge(self, keys: Iterable[tuple[str, UUID]]) -> None:
        """Notes that the broker has these events."""
        with self._lock:
            self.acknowledged.update(keys)

    def acknowledge_raw(self, topic: Topic[Event]) -> None:
        """Notes that the broker has a record that is no event."""
        with self._lock:
            self.raw[topic.name] += 1

    def records(self, topic: Topic[Event]) -> int:
        """Records of the topic that the broker has acknowledged, broken ones too."""
        with self._lock:
            acknowledged = sum(count for (name, _), count in self.acknowledged.items() if name == topic.name)
            return acknowledged + self.raw[topic.name]

    def rows(self) -> int:
        """Rows that these records come to: one for each image or broken record, one for each identity."""
        with self._lock:
            return len(self.acknowledged) + self.raw.total()

    def published_to(self, topic: Topic[Event]) -> set[UUID]:
        """The ids of the events that the run itself, and no stage, put on the topic."""
        with self._lock:
            return {event_id for name, event_id in self.attempted if name == topic.name}


@dataclass(frozen=True)
class Seen:
    """The log and the tables after a run: the records of each topic by its name, the keys of each table's rows."""

    records: Mapping[str, Sequence[Received[Event] | Unreadable]]
    rows: Mapping[str, Sequence[Hashable]]

    def of(self, topic: Topic[Event]) -> Sequence[Received[Event] | Unreadable]:
        return self.records.get(topic.name, ())

    def events(self, topic: Topic[Event]) -> list[Received[Event]]:
        return [item for item in self.of(topic) if isinstance(item, Received)]


@dataclass(frozen=True)
class Count:
    """One claim and how it stands: keys with how often each must be found at least and may be found at most."""

    name: str
    least: Mapping[Hashable, int]
    most: Mapping[Hashable, int]
    found: Mapping[Hashable, int]

    @property
    def lost(self) -> int:
        return sum(max(0, count - self.found.get(key, 0)) for key, count in self.least.items())

    @property
    def doubled(self) -> int:
        return sum(max(0, self.found.get(key, 0) - count) for key, count in self.most.items())

    @property
    def stray(self) -> int:
        return sum(count for key, count in self.found.items() if key not in self.most)


@dataclass(frozen=True)
class Verdict:
    """All claims on one run."""

    counts: tuple[Count, ...]

    @property
    def lost(self) -> int:
        return sum(count.lost for count in self.counts)

    @property
    def doubled(self) -> int:
        return sum(count.doubled for count in self.counts)

    @property
    def stray(self) -> int:
        return sum(count.stray for count in self.counts)

    def __str__(self) -> str:
        lines = (
            f"{c.name}: {c.lost} lost, {c.doubled} doubled, {c.stray} stray of {len(c.most)}"
            for c in self.counts
            if c.lost or c.doubled or c.stray
        )
        return "; ".join(lines) or "each record has one result, each result one row"


def look(settings: Settings, codec: Codec) -> Seen:
    """Reads the topics to their ends, and the keys of every row."""
    records = {topic.name: tuple(read(settings, codec, pin(settings, topic))) for topic in CHECKED}
    return Seen(records, asyncio.run(_keys(settings.database_url.get_secret_value())))


def judge(ledger: Ledger, seen: Seen) -> Verdict:
    """What is lost, doubled or stray."""
    return Verdict(
        (
            *_acknowledged(ledger, seen),
            _results(seen, IMAGES, PREPROCESSED, ledger),
            _results(seen, PREPROCESSED, DIAGNOSES, ledger),
            *_tables(seen),
        )
    )


def _acknowledged(ledger: Ledger, seen: Seen) -> Iterable[Count]:
    """Every record that the broker acknowledged is on the log, and none that was not published."""
    for topic in (IMAGES, PREPROCESSED, IDENTITIES):
        mine = ledger.published_to(topic)
        records = seen.events(topic) if topic is not PREPROCESSED else []
        records += [item for item in seen.events(PREPROCESSED) if topic is PREPROCESSED and item.event.event_id in mine]
        least, most = ({i: n for (name, i), n in c.items() if name == topic.name} for c in _tallies(ledger))
        yield Count(f"{topic.name} on the log", least, most, Counter(item.event.event_id for item in records))
    for topic in CHECKED:
        broken = {"unreadable": ledger.raw[topic.name]}
        found = {"unreadable": sum(isinstance(item, Unreadable) for item in seen.of(topic))}
        yield Count(f"unreadable records of {topic.name}", broken, broken, found)


def _tallies(ledger: Ledger) -> tuple[Counter[tuple[str, UUID]], Counter[tuple[str, UUID]]]:
    return ledger.acknowledged, ledger.attempted


def _results(seen: Seen, source: Topic[Event], derived: Topic[Event], ledger: Ledger) -> Count:
    """One derived event or dead letter for each record of `source`, whose place and id it names."""
    published = ledger.published_to(derived)
    sources = [item.at for item in seen.of(source)]
    ids = {item.at: item.event.event_id for item in seen.events(source)}
    made = [item.event.source for item in seen.events(derived) if item.event.event_id not in published]
    found = Counter[Hashable]()
    for ref in made:
        at = Coordinates(ref.topic, ref.partition, ref.offset)
        found[at if ids.get(at) == ref.event_id else ("another event's result", at)] += 1
    name = sources[0].topic if sources else ""
    for letter in _letters(seen):
        if letter.topic == name and letter.stage != SINK:
            found[Coordinates(letter.topic, letter.partition, letter.offset)] += 1
    once = dict.fromkeys(sources, 1)
    return Count(f"results of {source.name}", once, once, found)


def _tables(seen: Seen) -> Iterable[Count]:
    """One row for each event, however many records carry it."""
    diagnoses = [item.event for item in seen.events(DIAGNOSES)]
    kept = (DIAGNOSES, DEAD_LETTERS, IDENTITIES)
    broken = [item.at for topic in kept for item in seen.of(topic) if isinstance(item, Unreadable)]
    wanted: dict[str, set[Hashable]] = {
        "diagnosis": {event.event_id for event in diagnoses},
        "finding": {(event.event_id, finding.code) for event in diagnoses for finding in event.findings},
        "dead_letter": {letter.event_id for letter in _letters(seen)} | {_letter_id(at) for at in broken},
        "identity": {item.event.pseudonym for item in seen.events(IDENTITIES)},
    }
    for table, keys in wanted.items():
        once = dict.fromkeys(keys, 1)
        yield Count(f"rows of {table}", once, once, Counter(seen.rows.get(table, ())))


def _letters(seen: Seen) -> list[DeadLetter]:
    return [item.event for item in seen.events(DEAD_LETTERS) if isinstance(item.event, DeadLetter)]


def _letter_id(at: Coordinates) -> UUID:
    """The id of the letter that the sink keeps in the place of a record that it can't read."""
    return derived_id("dead-letter", SINK, at.topic, str(at.partition), str(at.offset))


async def _keys(url: str) -> dict[str, list[Hashable]]:
    connection = await asyncpg.connect(url)
    try:
        return {
            table: [row[0] if len(row) == 1 else tuple(row) for row in await connection.fetch(query)]
            for table, query in KEYS.items()
        }
    finally:
        await connection.close()
