"""Stages, sinks and clients that tests of the log put in the place of real ones."""

from collections.abc import Callable, Sequence
from typing import Any

from radiolog.log.batching import Place
from radiolog.log.publisher import Fact
from radiolog.log.stage import Emit, Outcome, Received
from schemas.events import Event, ImageEvent
from schemas.topics import IMAGES, PREPROCESSED, Topic
from tests.derived import preprocessed


class Copy:
    """A stage that emits one event per image, unless a test tells it otherwise."""

    name = "copy"
    source = IMAGES

    def __init__(self) -> None:
        self.seen = 0
        self.hook = lambda batch: None

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        self.hook(batch)
        self.seen += len(batch)
        return [self.one(item) for item in batch]

    def one(self, item: Received[ImageEvent]) -> Outcome:
        return Emit((Fact(PREPROCESSED, preprocessed(item)),))


class Count:
    """A stage of the first topic that emits nothing, and a sink of all, in memory; either counts what it gets."""

    name = "count"

    def __init__(self, *topics: Topic[Event]) -> None:
        self.source = topics[0]
        self.topics = topics
        self.seen = 0
        self._at: dict[Place, int] = {}

    def process(self, batch) -> Sequence[Outcome]:
        self.seen += len(batch)
        return [Emit(()) for _ in batch]

    def positions(self, partitions: Sequence[Place]) -> dict[Place, int]:
        return {where: self._at.get(where, 0) for where in partitions}

    def store(self, events, advances) -> None:
        self.seen += len(events)
        self._at |= {where: advance.next for where, advance in advances.items()}


class Wrapped:
    """Does what it wraps does."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class Members(Wrapped):
    """Clients of a log whose members are wrapped: `wrap` gets each, and how many there were before it."""

    def __init__(self, clients: Any, wrap: Callable[[Any, int], Any]) -> None:
        super().__init__(clients)
        self._wrap = wrap
        self.members: list[Any] = []

    def member(self, group: str, instance: str) -> Any:
        consumer = self._wrapped.member(group, instance)
        if instance == "lag":  # it only asks, and joins no group
            return consumer
        self.members.append(self._wrap(consumer, len(self.members)))
        return self.members[-1]
