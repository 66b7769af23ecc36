"""Whether the log is there, for a process that has nothing to do and would not notice otherwise.

The client library goes on by itself when it loses the brokers, and says nothing that can be relied on. So an idle
process asks now and then; one that is at work learns of it by its work.

Nor can it be relied on to find them again: after a broker that had hung for half a minute, one of a few clients of
librdkafka 2.16 made no connection any more, for as long as it lived. So a client that has not found the log for a while
is to be replaced by a new one, which costs little if it is the log's fault.
"""

import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException

from radiolog.health import Health

EVERY_SECONDS = 5.0
ANSWER_SECONDS = 1.0
LOST_SECONDS = 30.0
GONE = "the log does not answer"

log = structlog.get_logger()


class Presence:
    """Tells `health` when the log has gone, and when it is back.

    Args:
        ask: A question that the log answers; raises `KafkaException` if it does not within the seconds given.
        health: Told of both.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, ask: Callable[[float], object], health: Health, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._health = health
        self._clock = clock
        self._due = clock() + EVERY_SECONDS
        self._gone = False
        self._gone_at = 0.0
        self._before: str | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the log did not answer when it was last asked."""
        return self._gone

    @property
    def is_lost(self) -> bool:
        """Whether the log has been gone for so long that the client that asks may be at fault."""
        return self._gone and self._clock() - self._gone_at > LOST_SECONDS

    def begin_anew(self) -> None:
        """Another client asks from now on."""
        self._gone_at = self._clock()

    def proven(self) -> None:
        """The log has just answered something else."""
        self._due = self._clock() + EVERY_SECONDS
        if self._gone:
            self._gone = False
            log.info("the log answers again")
            if self._health.obstacle == GONE:
                self._restore()

    def look(self) -> None:
        """Asks, if it is time to; that takes a second at most."""
        if self._clock() < self._due:
            return
        try:
            self._ask(ANSWER_SECONDS)
        except KafkaException:
            self._due = self._clock()  # from now on at every look, until it answers
            if not self._gone:
                self._gone, self._gone_at = True, self._clock()
                log.warning(GONE)
            if (obstacle := self._health.obstacle) != GONE:
                self._before = obstacle
            self._health.unready(GONE)
        else:
            self.proven()

    def _restore(self) -> None:
        """What the process lacked before, it may lack still."""
        if self._before is None:
            self._health.ready()
        else:
            self._health.unready(self._before)
