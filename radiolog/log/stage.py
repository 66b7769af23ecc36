"""What a stage is: a pure function from a batch of events to outcomes, with no Kafka in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from radiolog.log.publisher import Fact
from radiolog.log.trace import TraceContext
from schemas.events import Event, EventRef
from schemas.topics import Topic

E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The place of a record on the log."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Received(Generic[E_co]):
    """An event, where on the log it stands, and the place in a trace that its record bears."""

    event: E_co
    at: Coordinates
    trace: TraceContext | None = None

    @property
    def ref(self) -> EventRef:
        """The reference that derived events carry as their lineage."""
        return EventRef(
            event_id=self.event.event_id, topic=self.at.topic, partition=self.at.partition, offset=self.at.offset
        )


@dataclass(frozen=True, slots=True)
class Emit:
    """The facts derived from one event, in order."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """The event can't be processed, now or later: a fixed word for the cause, and words for people.

    The reason ends in a dead letter and must hold no patient data.
    """

    error_class: str
    reason: str


Outcome = Emit | Reject


class StageUnavailable(Exception):
    """Something that the stage needs is not there for now: the batch is tried again after a while."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Stage(Protocol[E]):
    """A stage of the stream.

    `process` gives one outcome per event, in the batch's order. If it raises anything but `StageUnavailable`, the
    runtime calls it again with one event at a time, and an event that still makes it raise becomes a dead letter.
    """

    name: str
    source: Topic[E]

    def process(self, batch: Sequence[Received[E]]) -> Sequence[Outcome]:
        """One outcome per event of the batch."""
