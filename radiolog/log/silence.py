"""Whether a client that is given nothing should be: the log holds records for it that it does not bring.

A client library may reach the brokers, be a member of its group, and bring nothing all the same, for as long as it
lives: librdkafka has had several ways into that state after a broker went and came back. Neither an error nor an
answer of that client tells of it. So other clients are asked, now and then, whether records wait.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from radiolog.log.api import Consumer
from radiolog.log.batching import Place, place
from radiolog.log.errors import LogError
from radiolog.log.lag import PartitionLag
from radiolog.log.presence import Presence

EVERY_SECONDS = 30.0

log = structlog.get_logger()


class Silence:
    """Tells whether a member's client is deaf, so that another should take its place.

    It is if a record waits, in a partition that it reads, at two looks in a row and nothing before that record was
    settled between them. A member that reads no partition looks at all of them: it may be the one that was to get
    some. If others have them, and are at work on something long, a new client in its place does no harm.

    Args:
        presence: Says whether the log is there at all.
        consumer: The member's own client.
        lags: What waits, as clients made for the question see it; raises `LogError` where that can't be told.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        presence: Presence,
        consumer: Consumer,
        lags: Callable[[], Sequence[PartitionLag]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presence = presence
        self._consumer = consumer
        self._lags = lags
        self._clock = clock
        self._due = clock() + EVERY_SECONDS
        self._waited: set[tuple[Place, int | None]] = set()
        self.is_deaf = False

    def look(self) -> None:
        """Asks, if it is time to; for moments at which the client has just brought nothing."""
        if self._presence.is_gone:
            self._begin_anew(set())
        elif self._clock() >= self._due:
            waits = self._waits()
            if still := waits & self._waited:
                self.is_deaf = True
                log.warning("records wait that this client does not bring", partitions=len(still))
            self._begin_anew(waits)

    def _begin_anew(self, waits: set[tuple[Place, int | None]]) -> None:
        self._waited = waits
        self._due = self._clock() + EVERY_SECONDS

    def _waits(self) -> set[tuple[Place, int | None]]:
        """Where records wait, with the offset that is next there; nowhere if that can't be told."""
        try:
            lags = self._lags()
        except LogError:
            return set()
        mine = {place(partition) for partition in self._consumer.assignment()}
        waits = {((lag.topic, lag.partition), lag.next) for lag in lags if lag.waiting}
        return {(where, offset) for where, offset in waits if where in mine or not mine}
