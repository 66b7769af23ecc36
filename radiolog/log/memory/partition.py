"""One partition: records and transaction markers, in the order of their offsets."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from radiolog.log.api import Headers


class Outcome(Enum):
    """What became of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(eq=False)
class Transaction:
    """One transaction of one producer: the partitions that it wrote to, and the offsets that it carries."""

    outcome: Outcome = Outcome.OPEN
    partitions: set["Partition"] = field(default_factory=set)
    offsets: list[Callable[[bool], None]] = field(default_factory=list)

    def end(self, outcome: Outcome) -> None:
        """Settles it: a marker on every partition, and the offsets count if it is committed."""
        self.outcome = outcome
        for partition in self.partitions:
            partition.append(Entry(None, None, None, self, is_marker=True))
        for settle in self.offsets:
            settle(outcome is Outcome.COMMITTED)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record, or the marker of a transaction's end; `timestamp_ms` is when it was written, since 1970 in UTC."""

    key: bytes | None
    value: bytes | None
    headers: Headers | None
    transaction: Transaction | None = None
    is_marker: bool = False
    timestamp_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @property
    def is_open(self) -> bool:
        """Whether its transaction may still go either way."""
        return self.transaction is not None and self.transaction.outcome is Outcome.OPEN

    @property
    def is_visible(self) -> bool:
        """Whether a reader of committed records sees it."""
        return not self.is_marker and (self.transaction is None or self.transaction.outcome is Outcome.COMMITTED)


@dataclass(eq=False)
class Partition:
    """An append-only list of entries; an entry's index is its offset. Those before `oldest` are deleted."""

    entries: list[Entry] = field(default_factory=list)
    oldest: int = 0

    def append(self, entry: Entry) -> int:
        """Adds the entry; gives its offset."""
        self.entries.append(entry)
        return len(self.entries) - 1

    @property
    def last_stable_offset(self) -> int:
        """Where a reader of committed records must stop: the first record of the oldest open transaction."""
        return next((offset for offset, entry in enumerate(self.entries) if entry.is_open), len(self.entries))

    def first_since(self, timestamp_ms: int) -> int | None:
        """The offset of the first committed record that was written at that time or later."""
        for offset in range(self.oldest, self.last_stable_offset):
            if self.entries[offset].is_visible and self.entries[offset].timestamp_ms >= timestamp_ms:
                return offset
        return None

    def next_visible(self, start: int) -> int | None:
        """The offset of the next committed record at or after `start`, before the last stable offset."""
        for offset in range(max(start, self.oldest), len(self.entries)):
            if self.entries[offset].is_open:
                return None
            if self.entries[offset].is_visible:
                return offset
        return None
