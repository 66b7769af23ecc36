"""Whether the log is there, for a process that has nothing to do and would not notice otherwise.

The client library goes on by itself when it loses the brokers, and says nothing that can be relied on. So an idle
process asks now and then; one that is at work learns of it by its work.
"""

import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException

from radiolog.health import Health

EVERY_SECONDS = 5.0
ANSWER_SECONDS = 1.0
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
        self._before: str | None = None

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
                self._gone = True
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
