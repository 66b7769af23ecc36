"""What a simulated fleet saw: what was acknowledged, refused, sent again, and how long answers took."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np

from producers.simulator_plan import BROKEN, Kind, Shot
from producers.statuses import StoreStatus

PERCENTILES = (50, 95, 99)


class Fate(StrEnum):
    """How the sending of an object ended."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """For good: sending it again would not help."""
    GIVEN_UP = "given up"
    """It was refused with 0xA700, or not answered, for longer than the device's patience."""
    NOT_SENT = "not sent"
    """The run ended before."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object of the plan.

    Attributes:
        shot: the object.
        fate: how it ended.
        event_id: the id that it has on the log, if it is there; None of an object that was never sent.
        attempts: how often it was sent.
    """

    shot: Shot
    fate: Fate
    event_id: UUID | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a run is: objects of each fate, and requests that repeated one."""

    fates: Counter[Fate]
    repeats: int

    @property
    def settled(self) -> int:
        """Objects whose fate is known."""
        return self.fates.total()


@dataclass(frozen=True, slots=True)
class Report:
    """The run as a whole.

    Attributes:
        outcomes: one of each object of the plan.
        answers: C-STORE requests by the status that they were answered with; None of those that got no answer.
        broken_off: associations that were refused or could not be made.
        acknowledged_bytes: of all acknowledged objects, as files.
        latencies: seconds from request to success, of each acknowledged object.
        seconds: of the run.
        interrupted: whether it was ended before its end.
    """

    outcomes: Sequence[Outcome]
    answers: Counter[StoreStatus | None]
    broken_off: int
    acknowledged_bytes: int
    latencies: Sequence[float]
    seconds: float
    interrupted: bool

    @property
    def is_complete(self) -> bool:
        """Whether every object that is not broken was acknowledged."""
        return all(o.fate is Fate.ACKNOWLEDGED for o in self.outcomes if o.shot.kind not in BROKEN)

    @property
    def repeats(self) -> int:
        """Requests that repeated an earlier one of the same object, after 0xA700 or without an answer."""
        return sum(max(0, outcome.attempts - 1) for outcome in self.outcomes)

    def count(self, fate: Fate, kind: Kind | None = None) -> int:
        """Objects of this fate, of one kind or all."""
        return sum(o.fate is fate and kind in (None, o.shot.kind) for o in self.outcomes)

    def latency(self) -> dict[str, float] | None:
        """Percentiles in seconds; None if nothing was acknowledged."""
        if not self.latencies:
            return None
        values = np.percentile(self.latencies, PERCENTILES)
        return {f"p{percent}": round(float(value), 4) for percent, value in zip(PERCENTILES, values, strict=True)}

    def to_json(self) -> dict[str, Any]:
        """The report as one document."""
        acknowledged = self.count(Fate.ACKNOWLEDGED)
        return {
            "objects": len(self.outcomes),
            "complete": self.is_complete,
            "interrupted": self.interrupted,
            "fates": {fate.name.lower(): self.count(fate) for fate in Fate},
            "kinds": {kind.name.lower(): {fate.name.lower(): self.count(fate, kind) for fate in Fate} for kind in Kind},
            "answers": {status_name(status): count for status, count in sorted(self.answers.items(), key=_order)},
            "repeats": self.repeats,
            "associations_broken_off": self.broken_off,
            "seconds": round(self.seconds, 3),
            "objects_per_second": round(acknowledged / self.seconds, 2) if self.seconds else None,
            "megabytes_per_second": round(self.acknowledged_bytes / self.seconds / 1e6, 3) if self.seconds else None,
            "latency_seconds": self.latency(),
        }


def status_name(status: StoreStatus | None) -> str:
    """A status as people write it, e.g. `0xA700 OUT_OF_RESOURCES`."""
    return "no answer" if status is None else f"0x{status:04X} {status.name}"


def _order(answer: tuple[StoreStatus | None, int]) -> int:
    return -1 if answer[0] is None else answer[0]


class Book:
    """Where the devices of a run, each in a thread of its own, write down what they see."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []
        self._answers: Counter[StoreStatus | None] = Counter()
        self._fates: Counter[Fate] = Counter()
        self._latencies: list[float] = []
        self._bytes = self._broken_off = self._repeats = 0

    def answer(self, status: StoreStatus | None, seconds: float, size: int, is_repeat: bool) -> None:
        """Notes the answer to a request."""
        with self._lock:
            self._answers[status] += 1
            self._repeats += is_repeat
            if status is not None and is_stored(status):
                self._latencies.append(seconds)
                self._bytes += size

    def broken_off(self) -> None:
        """Notes an association that was refused, or could not be made."""
        with self._lock:
            self._broken_off += 1

    def settle(self, outcome: Outcome) -> None:
        """Notes what became of an object."""
        with self._lock:
            self._outcomes.append(outcome)
            self._fates[outcome.fate] += 1

    def tally(self) -> Tally:
        """How far the run is."""
        with self._lock:
            return Tally(self._fates.copy(), self._repeats)

    def report(self, seconds: float, interrupted: bool) -> Report:
        """The whole of it; objects in the order of the plan."""
        with self._lock:
            outcomes = sorted(self._outcomes, key=lambda outcome: outcome.shot.number)
            answers, latencies = self._answers.copy(), list(self._latencies)
            return Report(outcomes, answers, self._broken_off, self._bytes, latencies, seconds, interrupted)


def is_stored(status: StoreStatus) -> bool:
    """Whether the peer has the object (PS3.4 table B.2-1: a warning is a kind of success)."""
    return status in (StoreStatus.SUCCESS, StoreStatus.WARNING)
