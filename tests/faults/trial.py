"""One run of the suite: a site of its own, its stages, a load, a fault, and the verdict."""

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from radiolog.log.replay import pin, read
from radiolog.log.stage import Received
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.registry import codec
from schemas.topics import DEAD_LETTERS, PREPROCESSED
from tests.faults.checker import judge, look
from tests.faults.fleet import STAGES, Fleet
from tests.faults.load import Load
from tests.faults.progress import Progress
from tests.faults.servers import OwnServers
from tests.faults.table import Row, save

FULL = os.environ.get("RADIOLOG_FAULTS") == "full"
STALLED_SECONDS = 150.0
"""No result for so long means that none will come: longer than a hung call of the Kafka client may last."""

BURST = 150

NO_LETTERS: Mapping[str, int] = {}


def full_or(short: int, full: int) -> int:
    """A number of the whole suite, or of its short version."""
    return full if FULL else short


@dataclass(frozen=True)
class Fault:
    """A fault that is over: when its end was, and which stages it kept from their work."""

    ended: float
    stages: tuple[str, ...]


class Trial:
    """A site with a fleet and a load; `finish` waits for the last result, counts, and puts the row on the table."""

    def __init__(
        self, settings: Settings, servers: OwnServers, folder: Path, entries: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.settings = settings
        self.servers = servers
        self.codec: Codec = codec(settings)
        self.load = Load(settings, self.codec)
        self.progress = Progress(settings, self.codec)
        self.fleet = Fleet(settings, folder, entries)
        self.rows: list[Row] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def backlog(self, stage: str) -> int:
        """Records that wait for the stage, or are in its hands."""
        come = {
            "preprocess": self.load.records + len(self.load.ledger.published_to(PREPROCESSED)),
            "inference": self.progress.preprocessed,
            "sink": self.load.rows if stage == "sink" else 0,
        }
        return come[stage] - self.progress.done(stage)

    def hit(self, ended: float, *stages: str) -> None:
        """Notes a fault that has ended, and that met these stages at work."""
        with self._lock:
            self._faults.append(Fault(ended, stages))

    def strike(self, fault: Callable[[], object], *stages: str) -> None:
        """Lets the fault happen, from its beginning to its end, to those of the stages that have work."""
        if not any(self.backlog(stage) for stage in stages or STAGES):
            self.load.publish(BURST)  # the fleet was quicker than the test
        met = tuple(stage for stage in stages or STAGES if self.backlog(stage))
        assert met, "there is no work that the fault could hit"
        fault()
        self.hit(time.monotonic(), *met)

    @property
    def hits(self) -> int:
        return len(self._faults)

    def await_results(self, count: int, stage: str = "preprocess") -> None:
        """Waits until the stage has `count` more results, or nothing left to do: it may be quicker than the test."""
        wanted = self.progress.done(stage) + count
        self.until(
            lambda: self.progress.done(stage) >= wanted or not self.backlog(stage), f"{count} more results of {stage}"
        )

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits until the condition holds, for as long as results come, and some time longer."""
        began = time.monotonic()
        while not condition():
            idle = time.monotonic() - max(began, self.progress.last)
            assert idle < STALLED_SECONDS, f"{what}: nothing has come for {idle:.0f} s; {self._state()}"
            time.sleep(0.02)

    def finish(self, number: int, fault: str, notes: str = "", letters: Mapping[str, int] = NO_LETTERS) -> Row:
        """The row of this run; fails if no fault hit, anything is lost or doubled, or other dead letters came."""
        with suppress(AssertionError):  # what does not come is counted below
            self.until(lambda: not any(self.backlog(stage) for stage in STAGES), "the rest of the work")
        codes = self.fleet.stop_ready()
        verdict = judge(self.load.ledger, look(self.settings, self.codec))
        row = Row(
            number,
            fault,
            self.load.records,
            self.hits,
            verdict.lost,
            verdict.doubled,
            verdict.stray,
            self._recovery(),
            notes,
        )
        self.rows.append(row)
        save(row)
        assert self.hits, "no fault hit while work was under way"
        assert (row.lost, row.doubled, row.stray) == (0, 0, 0), str(verdict)
        assert (found := self._letters()) == Counter(letters), f"dead letters by cause: {dict(found)}"
        assert set(codes) == {0}, f"exit codes after SIGTERM: {codes}"
        return row

    def _letters(self) -> Counter[str]:
        """How many dead letters there are of each cause."""
        letters = read(self.settings, self.codec, pin(self.settings, DEAD_LETTERS))
        return Counter(item.event.error_class for item in letters if isinstance(item, Received))

    def close(self) -> None:
        self.fleet.close()
        self.progress.close()
        self.load.close()

    def _recovery(self) -> float | None:
        """The longest that a stage took for its first result after a fault that no other one followed before it."""
        return max((seconds for stage in STAGES for seconds in self._recoveries(stage)), default=None)

    def _recoveries(self, stage: str) -> Iterator[float]:
        ends = sorted(fault.ended for fault in self._faults if stage in fault.stages)
        for end, following in pairwise([*ends, math.inf]):
            seconds = self.progress.recovery(stage, end)
            if seconds is not None and end + seconds < following:
                yield seconds

    def _state(self) -> str:
        return ", ".join(f"{stage}: {self.backlog(stage)} to go" for stage in STAGES)
