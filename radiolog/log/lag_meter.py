"""How far a reader is behind, from what its own client knows anyway: no question to the broker, and never an error."""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, Message, TopicPartition

from radiolog.log.api import Consumer
from radiolog.log.batching import Place, place, place_of
from radiolog.log.metrics import StageMetrics

EVERY_SECONDS = 3.0

MARKERS = 16
"""Transaction markers take offsets too, and nobody is told of them: one after each transaction, a few in a row where
transactions were aborted. So few offsets, with nothing delivered from one look to the next, hold no record."""


class LagMeter:
    """Keeps `radiolog_lag_records` of one reader, by partition.

    The lag goes from what is settled, not from what was delivered, to the end that the last fetch told of. A partition
    has none until something of it was delivered, or its position came from a store.
    """

    def __init__(self, consumer: Consumer, metrics: StageMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer
        self._metrics = metrics
        self._clock = clock
        self._due = clock() + EVERY_SECONDS
        self._next: dict[Place, int] = {}
        self._end: dict[Place, int] = {}
        self._delivered: set[Place] = set()
        self._shown: set[Place] = set()

    def took(self, batch: Sequence[Message]) -> None:
        """These were delivered and are worked on."""
        self._delivered |= {place_of(message) for message in batch}
        for message in batch:
            self._next.setdefault(place_of(message), int(message.offset() or 0))

    def settled(self, offsets: Sequence[TopicPartition]) -> None:
        """Everything before these offsets is done with."""
        self._next |= {place(partition): partition.offset for partition in offsets}

    def measure(self) -> None:
        """Tells the metrics, every few seconds; call it as often as you like."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + EVERY_SECONDS
        try:
            self._measure({place(partition) for partition in self._consumer.assignment()})
        except (KafkaException, RuntimeError):
            return  # the work meets the same error, and knows what to do about it

    def _measure(self, assigned: set[Place]) -> None:
        for gone in self._shown - assigned:
            self._metrics.forget_lag(*gone)
        self._shown &= assigned
        self._next = {where: offset for where, offset in self._next.items() if where in assigned}
        for where, offset in self._next.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*where), cached=True)
            if end >= 0:
                self._metrics.show_lag(*where, self._waiting(where, offset, end))
                self._shown.add(where)
                self._end[where] = end
        self._delivered.clear()

    def _waiting(self, where: Place, offset: int, end: int) -> int:
        idle = where not in self._delivered and self._end.get(where) == end
        waiting = max(0, end - offset)
        return 0 if idle and waiting <= MARKERS else waiting
