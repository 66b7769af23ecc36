"""A campaign: hostile things by the thousand on all ways in, good objects all the while, and the account of both."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from itertools import count
from pathlib import Path
from uuid import UUID

from rich.table import Table

from producers.device import Device, DeviceError
from producers.statuses import StoreStatus
from tests.hostile import parcels
from tests.hostile.attackers import Attacker, Fate, Outcome, event_id_of, posted
from tests.hostile.holders import Holders
from tests.hostile.objects import MARK
from tests.hostile.victims import CAP_BYTES, Victims, Watch
from tests.peers.objects import write_object

ATTACKERS = 6
STALLED_SECONDS = 120.0
GOOD_PAUSE_SECONDS = 0.2


@dataclass
class Row:
    """What became of one kind."""

    way: str
    kind: str
    tried: int = 0
    refused: int = 0
    harmless: int = 0
    left: int = 0
    diagnosed: int = 0
    dead_letters: int = 0
    crashes: int = 0


@dataclass
class Account:
    """How a campaign ended.

    Attributes:
        rows: what became of what was sent.
        troubles: in words, what must not be; empty if all went well.
        peaks: largest resident memory of each process, in bytes.
    """

    rows: list[Row]
    troubles: list[str]
    peaks: dict[str, int]
    good: int
    repeated: int
    slowest_good: float


class GoodSender:
    """Knows how to behave, over C-STORE and STOW-RS in turn, and sends again what was not taken."""

    def __init__(self, dicom_port: int, stow_port: int, folder: Path) -> None:
        self._device = Device("127.0.0.1", dicom_port, "GOOD")
        self._stow_port = stow_port
        self._folder = folder / "good"
        self._folder.mkdir()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="good", daemon=True)
        self.acknowledged: list[UUID] = []
        self.repeats = 0
        self.slowest = 0.0
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number in count():
            path = self._folder / f"{number}.dcm"
            write_object(path)
            began = time.monotonic()
            send = self._stored if number % 2 else self._posted
            while not send(path):
                self.repeats += 1
                self._ended.wait(GOOD_PAUSE_SECONDS)
            self.slowest = max(self.slowest, time.monotonic() - began)
            if self._ended.wait(GOOD_PAUSE_SECONDS):
                return

    def _stored(self, path: Path) -> bool:
        with suppress(DeviceError):
            for answer in self._device.send([path]):
                if answer.status is StoreStatus.SUCCESS:
                    self.acknowledged.append(answer.event_id)
                    return True
        return False

    def _posted(self, path: Path) -> bool:
        content = path.read_bytes()
        with suppress(OSError):
            if posted(self._stow_port, content, "127.0.0.1")[0] == HTTPStatus.OK:
                self.acknowledged.append(event_id_of(content))
                return True
        return False


@dataclass
class Campaign:
    """Sends `size` hostile things, `files` of them into the folder, and holds `held` connections of each slow kind."""

    victims: Victims
    folder: Path
    size: int
    files: int
    held: int
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self, tell: Callable[[str], None]) -> Account:
        """From the first to the result of the last."""
        watch = Watch(self.victims.adapters)
        good = GoodSender(self.victims.dicom_port, self.victims.stow_port, self.folder)
        dropped = [parcels.drop(number, self.victims.inbox) for number in range(self.files)]
        with Holders(self.victims.dicom_port, self.victims.stow_port, self.held) as holders:
            self._attack(self.size - self.files, tell)
            tell("waiting for the folder")
            stuck = self._await_folder()
        good.end()
        found = self.victims.from_folder()
        wanted = {one.event_id for one in self.outcomes if one.event_id is not None} | found
        tell(f"waiting for the results of {len(wanted)} that were accepted, and {len(good.acknowledged)} good ones")
        results = self._settled(wanted | set(good.acknowledged))
        watch.end()
        rows = [*self._rows_of_senders(results), *self._rows_of_folder(results, dropped, found), *_rows_of(holders)]
        troubles = [*self._troubles(watch, results, wanted, good), *stuck]
        return Account(rows, troubles, watch.peaks, len(good.acknowledged), good.repeats, good.slowest)

    def _attack(self, size: int, tell: Callable[[str], None]) -> None:
        numbers, lock = iter(range(size)), threading.Lock()
        began = time.monotonic()

        def work(ordinal: int) -> None:
            source = f"127.0.0.{10 + ordinal}"
            with closing(Attacker(self.victims.dicom_port, self.victims.stow_port, source)) as attacker:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    self.outcomes.append(attacker.act(number))
                    if len(self.outcomes) % 500 == 0:
                        tell(f"{len(self.outcomes)} of {size}, {time.monotonic() - began:.0f} s")

        with ThreadPoolExecutor(ATTACKERS, thread_name_prefix="attacker") as pool:
            for one in [pool.submit(work, ordinal) for ordinal in range(ATTACKERS)]:
                one.result()

    def _await_folder(self) -> list[str]:
        """Waits until the folder is empty, but for what the adapter leaves alone."""

        def left() -> int:
            return sum(1 for path in self._dropped_files() if not path.is_symlink())

        return _stalled("the folder", left)

    def _dropped_files(self) -> Iterator[Path]:
        for place in self.victims.inbox.iterdir():
            if place.name not in ("done", "rejected"):
                yield from (path for path in place.rglob("[!.]*") if path.is_file())

    def _settled(self, wanted: set[UUID]) -> dict[UUID, str]:
        _stalled("results", lambda: len(wanted) - len(self.victims.results(wanted)))
        return self.victims.results(wanted)

    def _rows_of_senders(self, results: dict[UUID, str]) -> list[Row]:
        rows: dict[tuple[str, str], Row] = {}
        for one in self.outcomes:
            row = rows.setdefault((one.way, one.kind), Row(one.way, one.kind))
            row.tried += 1
            row.refused += one.fate is Fate.REFUSED
            row.harmless += one.fate is Fate.ANSWERED
            row.left += one.fate is Fate.LEFT
            row.crashes += one.fate in _BAD
            if one.event_id is not None:
                row.diagnosed += results.get(one.event_id) == "diagnosed"
                row.dead_letters += results.get(one.event_id) == "dead letter"
        return sorted(rows.values(), key=lambda row: (row.way, row.kind))

    def _rows_of_folder(self, results: dict[UUID, str], dropped: list[str], found: set[UUID]) -> Iterator[Row]:
        """Parcels by kind; and the objects that were in them and were taken, which may be several of one parcel."""
        inbox = self.victims.inbox
        refused = {path.name for path in inbox.glob("rejected/*/*") if any(one.is_file() for one in path.rglob("*"))}
        for kind, tried in Counter(dropped).items():
            bad = sum(one == kind and f"{number:05}" in refused for number, one in enumerate(dropped))
            yield Row("folder", kind, tried, refused=bad, harmless=tried - bad)
        fates = Counter(results.get(event_id) for event_id in found)
        yield Row(
            "folder", "objects taken of these", 0, diagnosed=fates["diagnosed"], dead_letters=fates["dead letter"]
        )

    def _troubles(self, watch: Watch, results: dict[UUID, str], wanted: set[UUID], good: GoodSender) -> Iterator[str]:
        bad = Counter((one.way, one.kind, one.fate.value, one.note) for one in self.outcomes if one.fate in _BAD)
        yield from (f"{number} of {way} {kind}: {fate} {note}" for (way, kind, fate, note), number in bad.items())
        yield from (f"{role} ended" for role in watch.gone)
        yield from (f"{stage} ended" for stage in self.victims.restarted())
        yield from (f"a log says: {line}" for line in self.victims.faults()[:20])
        yield from (f"{name} quotes what was sent" for name in self.victims.leaks())
        if missing := len(wanted - results.keys()):
            yield f"{missing} accepted objects have no result"
        undiagnosed = sum(results.get(event_id) != "diagnosed" for event_id in good.acknowledged)
        if undiagnosed or not good.acknowledged:
            yield f"{undiagnosed} of {len(good.acknowledged)} good objects have no diagnosis"
        yield from (
            f"{role} held {peak >> 20} MiB, {CAP_BYTES >> 20} are the cap"
            for role, peak in watch.peaks.items()
            if peak > CAP_BYTES
        )
        yield from (f"{path} was written" for path in (Path("/tmp", MARK), Path("/etc/cron.d", MARK)) if path.exists())


_BAD = (Fate.INTERNAL, Fate.SILENT)


def _rows_of(holders: Holders) -> Iterator[Row]:
    for kind, tried in holders.tried.items():
        ended = holders.ended.get(kind, 0)
        yield Row("held", kind, tried, refused=ended, left=tried - ended)


def _stalled(what: str, left: Callable[[], int]) -> list[str]:
    """Waits until nothing is left; says so where it has not become less for too long."""
    least, since = left(), time.monotonic()
    while least:
        time.sleep(0.3)
        if (now := left()) < least:
            least, since = now, time.monotonic()
        elif time.monotonic() - since > STALLED_SECONDS:
            return [f"{what}: {least} are left, and it goes no further"]
    return []


def rendered(rows: Iterable[Row]) -> Table:
    table = Table(title="hostile input")
    for name in ("", "kind", "tried", "refused", "harmless", "left", "diagnosed", "dead letters", "crashes"):
        table.add_column(name, justify="left" if name in ("", "kind") else "right")
    listed = list(rows)
    for row in [*listed, _total(listed)]:
        _, _, *numbers = asdict(row).values()
        table.add_row(row.way, row.kind, *(f"{number:,}" for number in numbers))
    return table


def _total(rows: Sequence[Row]) -> Row:
    sums = [sum(values) for values in zip(*(list(asdict(row).values())[2:] for row in rows), strict=True)]
    return Row("all", "", *sums)
