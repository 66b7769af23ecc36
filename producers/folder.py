"""The folder adapter: what a device drops into a folder goes onto the log, then into `done/` or `rejected/`.

A parcel (`producers.parcels`) moves to `done/` only after the broker has acknowledged all of it. While the log is down
parcels stay where they are and are tried again. Nothing is remembered between two runs: what lies in the folder is what
is still to do, so a crash at any step leads to the same objects again, which have the same ids, and to no loss.

A parcel is read once it has not changed between two looks. A copy over a network may stall for longer than that, so one
that is refused stays too, and is read again at each look: it moves to `rejected/` when it has been refused unchanged
`REFUSALS` times, and `PATIENCE` times where something that belongs to it is not there. A picture at which the decoder
hangs or dies moves at once, since the others wait for it. One that fails in any other way stays, is tried again, and
does not stop the others.

However many files there are, one look takes in `LOOK` parcels and one round publishes `ROUND` of them: memory, and the
time until a signal or a new look, do not grow with the folder.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog

from producers import photograph
from producers.errors import Incomplete, Refused, UnwrappablePicture
from producers.files import FileResult, Wrap, publish
from producers.intake import Intake
from producers.parcels import Kind, Parcel, Version, parcels_below
from producers.shelf import Shelf
from radiolog.log.errors import LogError
from radiolog.settings import MIB
from schemas.events import ImageSource, SourceKind

DONE, REJECTED = "done", "rejected"
SHELVES = frozenset({DONE, REJECTED})
REFUSALS = 6
PATIENCE = 120
ROUND = 2000
#: Twice a round, so that what the next round publishes has been seen before.
LOOK = 2 * ROUND
#: The broker's answer is most of what a small object takes; threads wait for it side by side.
PUBLISHERS = 8
#: Parcels above this are read one at a time: what is held in memory is one of them and the publishers' small ones.
LARGE_BYTES = 32 * MIB
MANY = frozenset({Kind.ARCHIVE, Kind.MEDIUM})
#: How many refused objects of one parcel its reason file lists.
LISTED = 1000
ABANDONED_SECONDS = 24 * 3600

log = structlog.get_logger()


@dataclass(slots=True)
class _Seen:
    """What is known of a parcel that was there at the last look.

    Attributes:
        version: what it was like.
        refusals: how often it was refused since it became so.
        published: whether all of it is on the log, and only the move failed.
        accepted: of a medium, the files that are on the log.
    """

    version: Version
    refusals: int = 0
    published: bool = False
    accepted: set[Path] = field(default_factory=set)


class FolderWatcher:
    """Publishes the files of one folder; one watcher a folder."""

    def __init__(
        self,
        folder: Path,
        intake: Intake,
        poll_seconds: float,
        on_step: Callable[[], None] = lambda: None,
        wrap: Wrap = photograph.wrap,
    ) -> None:
        """Prepares the watcher.

        Args:
            folder: what devices write into.
            intake: what becomes of an object.
            poll_seconds: from one look to the next.
            on_step: called at each look, and for each object.
            wrap: what becomes of a picture.
        """
        self._folder = folder
        self._intake = intake
        self._poll_seconds = poll_seconds
        self._on_step = on_step
        self._wrap = wrap
        self._source = ImageSource(kind=SourceKind.FOLDER, peer=folder.name, adapter="folder")
        self._done, self._rejected = Shelf(folder, DONE), Shelf(folder, REJECTED)
        self._seen: dict[Parcel, _Seen] = {}
        self._one_large = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Look every `poll_seconds` until `stop` is set, or at once after a round that took longer.

        Raises:
            OSError: the folder cannot be read.
        """
        while not stop.is_set():
            began = time.monotonic()
            self.scan(stop)
            stop.wait(max(0.0, self._poll_seconds - (time.monotonic() - began)))

    def scan(self, stop: threading.Event | None = None) -> None:
        """Look once: publish every parcel that has not changed since the look before, `ROUND` at most."""
        self._on_step()
        settled = self._look()
        if settled:
            self._round(settled, _Halt(stop or threading.Event()))

    def _look(self) -> list[Parcel]:
        """What has not changed since the look before; what has changed, or gone, is forgotten."""
        before, self._seen = self._seen, {}
        settled = []
        for parcel in islice(parcels_below(self._folder, SHELVES, _remove_if_abandoned), LOOK):
            try:
                version = parcel.version()
            except OSError:
                continue  # taken away meanwhile
            known = before.get(parcel)
            if known is not None and known.version == version:
                self._seen[parcel] = known
                settled.append(parcel)
            else:
                self._seen[parcel] = _Seen(version)
        return sorted(settled, key=lambda parcel: parcel.path)[:ROUND]

    def _round(self, settled: list[Parcel], halt: "_Halt") -> None:
        with ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="folder") as publishers:
            attempts = {publishers.submit(self._publish, parcel, halt): parcel for parcel in settled}
            for attempt in as_completed(attempts):
                try:
                    self._settle(attempts[attempt], attempt)
                except Exception as error:  # whatever it is: its message may quote the file, and the others can go on
                    log.error("file skipped", folder=self._folder.name, cause=type(error).__name__)
        if halt.cause is not None:
            log.warning("log unavailable, files stay", folder=self._folder.name, cause=type(halt.cause).__name__)

    def _publish(self, parcel: Parcel, halt: "_Halt") -> list[FileResult] | None:
        """What became of each object, in a thread of its own; None where `halt` came before the last one."""
        seen = self._seen[parcel]
        if seen.published:
            return []
        try:
            with self._one_large if _may_be_large(parcel, seen.version) else nullcontext():
                return self._publish_objects(parcel, seen, halt)
        except LogError as error:
            halt.cause = error  # here, not where it is settled: this thread would take the next parcel meanwhile
            return None

    def _publish_objects(self, parcel: Parcel, seen: "_Seen", halt: "_Halt") -> list[FileResult] | None:
        results: list[FileResult] = []
        if halt.is_called:
            return None
        for result in publish(parcel, self._source, self._intake, self._wrap, seen.accepted):
            self._on_step()
            results.append(result)
            if halt.is_called and parcel.kind in MANY:
                return None
        return results

    def _settle(self, parcel: Parcel, attempt: Future[list[FileResult] | None]) -> None:
        try:
            results = attempt.result()
        except FileNotFoundError:
            return  # taken away since the look
        except Incomplete as refused:
            self._refuse(parcel, str(refused), PATIENCE)
        except UnwrappablePicture as refused:
            self._refuse(parcel, str(refused), 1)
        except Refused as refused:
            self._refuse(parcel, str(refused), REFUSALS)
        except PermissionError:
            self._refuse(parcel, "the file may not be read: give it to the adapter's user", REFUSALS)
        else:
            if results is not None:
                self._shelve(parcel, results)

    def _shelve(self, parcel: Parcel, results: list[FileResult]) -> None:
        seen = self._seen[parcel]
        seen.accepted.update(result.path for result in results if result.event_id is not None)
        refused = [result for result in results if result.event_id is None]
        if refused:
            # An archive that opens is whole; a file on a medium may still be a copy that stalled.
            reason = _account(parcel, len(seen.accepted), refused)
            self._refuse(parcel, reason, REFUSALS if parcel.kind is Kind.MEDIUM else 1)
            return
        seen.published = True
        if self._is_still(parcel):
            self._done.put(parcel.paths)
            del self._seen[parcel]

    def _refuse(self, parcel: Parcel, reason: str, times: int) -> None:
        """Move a parcel to `rejected/` once it has been refused often enough and is still the one that was read."""
        seen = self._seen[parcel]
        seen.refusals += 1
        if seen.refusals < times or not self._is_still(parcel):
            return
        # Names of files and entries often hold the patient's name, so none is logged: the first line has none.
        log.warning("file rejected", folder=self._folder.name, reason=reason.partition("\n")[0])
        self._rejected.put(parcel.paths, reason)
        del self._seen[parcel]

    def _is_still(self, parcel: Parcel) -> bool:
        """Whether nobody has written to it since; a device may put its next object under the same name at any time."""
        try:
            return parcel.version() == self._seen[parcel].version
        except OSError:
            return False


class _Halt:
    """Ends a round early: the process is to stop, or the log has gone."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.cause: LogError | None = None

    @property
    def is_called(self) -> bool:
        return self.cause is not None or self._stop.is_set()


def _may_be_large(parcel: Parcel, version: Version) -> bool:
    """Whether it, or what becomes of it, may take much memory."""
    (size, *_) = version
    return parcel.kind is not Kind.OBJECT or (isinstance(size, int) and size > LARGE_BYTES)


def _account(parcel: Parcel, accepted: int, refused: list[FileResult]) -> str:
    """What became of the objects of a parcel: a line that can be logged, and a line for each that was refused."""
    lines = [f"{result.path.relative_to(parcel.path)}: {result.reason}" for result in refused[:LISTED]]
    rest = [f"and {len(refused) - LISTED} more"] if len(refused) > LISTED else []
    return "\n".join([f"{accepted} objects are on the log, {len(refused)} are not", *lines, *rest])


def _remove_if_abandoned(folder: Path) -> None:
    """Remove an empty folder, unless something was in it within a day: its device may still want it."""
    with suppress(OSError):  # no longer empty, or gone
        if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
            folder.rmdir()
