"""A fleet of devices that sends what an archive holds, as modalities do.

Each device is a thread with associations of its own, one after the other, and keeps an object until it is acknowledged:

1. It sends what is due, in order, over one association.
2. What is answered with 0xA700, or not answered at all, it keeps, and sends again after a pause that grows.
3. What is refused otherwise it does not send again: the same bytes would be refused again.
4. What has not gone through within the device's patience it gives up, and reports.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import UUID

from producers.device import Device, DeviceError, Sent
from producers.simulator_objects import Objects
from producers.simulator_plan import Load, Shot, shots
from producers.simulator_report import Book, Fate, Outcome, Report, Tally, is_stored
from producers.statuses import StoreStatus

BATCH: Final = 32
"""Objects of one association at most."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.1
END_SECONDS: Final = 90.0
"""More than a request in flight can take."""


class Simulator:
    """Plays one load."""

    def __init__(self, devices: Sequence[Device], objects: Objects, load: Load, patience: float) -> None:
        """Prepares the run.

        Args:
            devices: one for each that the load names.
            objects: makes what they send.
            load: how much, and when.
            patience: seconds for which a device sends an object again that the peer does not take.
        """
        if len(devices) != load.devices:
            raise ValueError(f"{len(devices)} devices for a load of {load.devices}")
        plan = list(shots(load))
        self._devices = devices
        self._book = Book()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._players = [
            _Player(
                device,
                objects,
                [shot for shot in plan if shot.device == number],
                self._book,
                patience,
                random.Random(f"{load.seed}/pauses/{number}"),  # noqa: S311 - no secret
            )
            for number, device in enumerate(devices)
        ]

    def run(self, on_progress: Callable[[Tally], None] = lambda tally: None) -> Report:
        """Plays the load to its end, or to Ctrl-C, and says what came of it; only once.

        Args:
            on_progress: called some times a second.

        Raises:
            DeviceError: the peer cannot be reached, or takes no association, before anything was sent.
            SourceError: the archive cannot be read.
        """
        for device in self._devices:
            device.echo()
        began = time.monotonic()
        threads = [threading.Thread(target=self._play, args=(p, began), daemon=True) for p in self._players]
        for thread in threads:
            thread.start()
        interrupted = False
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(POLL_SECONDS)
                on_progress(self._book.tally())
        except KeyboardInterrupt:
            interrupted = True
        self._stop.set()
        for thread in threads:
            thread.join(END_SECONDS)
        if self._failures:
            raise self._failures[0]
        return self._book.report(time.monotonic() - began, interrupted)

    def _play(self, player: "_Player", began: float) -> None:
        try:
            player.play(began, self._stop)
        except BaseException as error:  # told by `run`, in the caller's thread
            self._failures.append(error)
            self._stop.set()


@dataclass(slots=True)
class _Kept:
    """An object that a device has and that is not acknowledged."""

    shot: Shot
    until: float | None = None
    """When the device gives it up, once sending it has failed."""
    attempts: int = 0
    event_id: UUID | None = None


class _Player:
    """One device, at its work."""

    def __init__(
        self, device: Device, objects: Objects, plan: Iterable[Shot], book: Book, patience: float, draw: random.Random
    ) -> None:
        self._device = device
        self._objects = objects
        self._plan = deque(plan)
        self._book = book
        self._patience = patience
        self._draw = draw

    def play(self, began: float, stop: threading.Event) -> None:
        """Sends all of the plan, from the moment `began` on the monotonic clock, until `stop`."""
        kept, failures = deque[_Kept](), 0
        while (self._plan or kept) and not stop.is_set():
            self._take_due(kept, began)
            if not kept:
                stop.wait(began + self._plan[0].due - time.monotonic())
                continue
            went_well = self._send(kept, stop)
            failures = 0 if went_well else failures + 1
            if not went_well:
                stop.wait(self._pause(failures))
        for rest in (*kept, *map(_Kept, self._plan)):
            self._settle(rest, Fate.NOT_SENT)

    def _take_due(self, kept: deque[_Kept], began: float) -> None:
        now = time.monotonic()
        while self._plan and began + self._plan[0].due <= now:
            kept.append(_Kept(self._plan.popleft()))

    def _pause(self, failures: int) -> float:
        """Exponential, and not the same for all devices, so that they do not come back all at once."""
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10))
        return longest * self._draw.uniform(0.5, 1.0)

    def _send(self, kept: deque[_Kept], stop: threading.Event) -> bool:
        """One association: what was not taken stays in `kept`, in order; returns whether all was taken or refused."""
        batch = [kept.popleft() for _ in range(min(BATCH, len(kept)))]
        left: list[_Kept] = []
        with TemporaryDirectory(prefix="radiolog-simulate-") as folder:
            paths = [self._written(one, Path(folder)) for one in batch]
            try:
                with closing(self._device.send(paths)) as answers:
                    for sent in answers:
                        one = batch.pop(0)
                        if not self._is_settled(one, sent):
                            left.append(one)
                        if stop.is_set():
                            break
            except DeviceError:
                self._book.broken_off()
                left += batch
                batch = []
        for one in left:
            one.until = one.until or time.monotonic() + self._patience
        kept.extendleft(reversed([*left, *batch]))
        self._give_up(kept)
        return not left

    def _written(self, one: _Kept, folder: Path) -> Path:
        path = folder / f"{one.shot.number}.dcm"
        path.write_bytes(self._objects.content(one.shot))
        return path

    def _is_settled(self, one: _Kept, sent: Sent) -> bool:
        """Whether the object need not be sent again."""
        one.attempts, one.event_id = one.attempts + 1, sent.event_id
        self._book.answer(sent.status, sent.seconds, sent.path.stat().st_size, one.attempts > 1)
        if sent.status in (None, StoreStatus.OUT_OF_RESOURCES):
            return False
        self._settle(one, Fate.ACKNOWLEDGED if is_stored(sent.status) else Fate.REFUSED)
        return True

    def _give_up(self, kept: deque[_Kept]) -> None:
        now = time.monotonic()
        for one in [one for one in kept if one.until is not None and one.until <= now]:
            kept.remove(one)
            self._settle(one, Fate.GIVEN_UP)

    def _settle(self, one: _Kept, fate: Fate) -> None:
        self._book.settle(Outcome(one.shot, fate, one.event_id, one.attempts))
