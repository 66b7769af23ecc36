"""Goes round while the adapter runs: who waits for a report is visited, ever more rarely where that is in vain."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from producers.commitment.journal import Journal
from producers.commitment.reporter import Reporter
from radiolog.log.metrics import CommitmentMetrics

LOOK_SECONDS: Final = 0.5
FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 600.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Visit:
    """Who is with a device, and in what thread."""

    reporter: Reporter
    thread: threading.Thread


class Rounds:
    """Visits each device in a thread of its own, so that one that does not answer keeps no other waiting.

    Args:
        journal: Who waits.
        reporter: Makes the reporter of an AE title.
        metrics: Where it counts.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        journal: Journal,
        reporter: Callable[[str], Reporter],
        metrics: CommitmentMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._reporter = reporter
        self._metrics = metrics
        self._clock = clock
        self._visits: dict[str, _Visit] = {}
        self._pauses: dict[str, float] = {}
        self._next: dict[str, float] = {}

    def look(self) -> None:
        """Sets out to those whose time it is, if nobody is with them already.

        Raises:
            sqlite3.Error, OSError: the journal can't be read.
        """
        self._metrics.waiting.set(self._journal.waiting())
        self._visits = {peer: visit for peer, visit in self._visits.items() if visit.thread.is_alive()}
        for peer in self._journal.reportable() - self._visits.keys():
            if self._clock() >= self._next.get(peer, 0.0):
                self._visits[peer] = self._begin(peer)

    def end(self, seconds: float) -> None:
        """Lets the visits that are under way end within `seconds`, then breaks them off."""
        deadline = time.monotonic() + seconds
        for visit in self._visits.values():
            visit.thread.join(max(0.0, deadline - time.monotonic()))
        for visit in self._visits.values():
            visit.reporter.abort()

    def _begin(self, peer: str) -> "_Visit":
        reporter = self._reporter(peer)
        thread = threading.Thread(target=self._visit, args=(peer, reporter), name=f"commitment-{peer}", daemon=True)
        thread.start()
        return _Visit(reporter, thread)

    def _visit(self, peer: str, reporter: Reporter) -> None:
        try:
            done = reporter.visit()
        except Exception as error:  # whatever it is, it must not be the end of reports
            log.error("commitment not reported", peer=peer, cause=type(error).__name__)
            done = False
        if done:
            self._pauses.pop(peer, None)
            self._next.pop(peer, None)
            return
        pause = self._pauses.get(peer, FIRST_PAUSE_SECONDS)
        self._next[peer] = self._clock() + pause
        self._pauses[peer] = min(2 * pause, LONGEST_PAUSE_SECONDS)
