"""Decides about requests: reads on in `images`, then looks up what they name."""

import threading
from collections.abc import Callable

import structlog

from producers.commitment.index import Index
from producers.commitment.journal import Journal
from radiolog.log.metrics import CommitmentMetrics
from radiolog.log.tail import Tail, behind, resumed
from schemas.events import ImageEvent

log = structlog.get_logger()


class Clerk:
    """What it lacks it waits for: a request stays in the journal until all of it could be looked up.

    Args:
        journal: The requests.
        index: What the log holds.
        tail: Reads `images`.
        pseudonym: By what UID the log knows an object.
        metrics: Where it counts.
    """

    def __init__(
        self,
        journal: Journal,
        index: Index,
        tail: Tail[ImageEvent],
        pseudonym: Callable[[str], str],
        metrics: CommitmentMetrics,
    ) -> None:
        self._journal = journal
        self._index = index
        self._tail = tail
        self._pseudonym = pseudonym
        self._metrics = metrics

    def round(self, stop: threading.Event) -> int:
        """Decides about the requests that are there now; gives how many. None if `stop` is set before the end.

        Raises:
            LogError: the log does not answer; what was read is kept.
            RegistryUnavailable: a schema can't be had for now.
            sqlite3.Error, OSError: a file can't be read or written.
        """
        # In this order: the end comes after the requests, so what was acknowledged before one lies before the end.
        asked = self._journal.undecided()
        end = self._tail.end()
        self._index.align(end)
        self._metrics.lag.set(behind(self._index.next(), end))
        for batch in self._tail.read(resumed(self._index.next(), end), end.next, stop):
            self._index.add(batch)
            self._metrics.lag.set(behind(self._index.next(), end))
        if stop.is_set():
            return 0
        for number in asked:
            self._decide(number)
        return len(asked)

    def _decide(self, number: int) -> None:
        entry = self._journal.entry(number)
        if entry is None:
            return
        names = ((each.sop_class, self._pseudonym(each.sop_instance)) for each in entry.request.objects)
        reasons = self._index.failures(names)
        self._journal.decide(number, reasons)
        missing = sum(reason is not None for reason in reasons)
        log.info("commitment decided", peer=entry.request.peer, request=number, objects=len(reasons), missing=missing)
