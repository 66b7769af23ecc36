"""Plays a device: sends the samples, watches what becomes of each, and checks that nothing was lost.

An image has come to its end when the sink has stored its last event of *this* run. A second run therefore waits for the
resent images to go all the way too, and then finds the rows of the first.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from producers.device import Device, Sent
from producers.statuses import StoreStatus
from radiolog.demo.pictures import draw
from radiolog.demo.samples import Sample
from radiolog.log.follow import Follower
from radiolog.settings import Settings
from schemas.registry import codec
from schemas.topics import DEAD_LETTERS, DIAGNOSES, IMAGES, PREPROCESSED
from sinks.queries import Database, DeadLetterRow, DiagnosisRow

OUTCOME_SECONDS = 120.0
POLL_SECONDS = 0.1


class DemoFailed(Exception):
    """What was sent is not what was found."""


@dataclass(frozen=True, slots=True)
class Way:
    """One sample on its way: where it has got to, and what came of it."""

    sample: Sample
    stage: str = "waiting"
    sent: Sent | None = None
    diagnosis: DiagnosisRow | None = None
    dead_letter: DeadLetterRow | None = None
    picture: Path | None = None

    @property
    def image_event_id(self) -> UUID | None:
        """The id that the image has on the log, if the adapter took it."""
        return self.sent.event_id if self.sent is not None and self.sent.status is StoreStatus.SUCCESS else None

    @property
    def refused(self) -> bool:
        """Whether the adapter did not take it."""
        return self.sent is not None and self.sent.status is not StoreStatus.SUCCESS

    @property
    def settled(self) -> bool:
        """Whether its end is known."""
        return self.refused or self.diagnosis is not None or self.dead_letter is not None


Show = Callable[[Sequence[Way]], None]


class Demo:
    """One run over `samples`; `show` is called whenever something has happened."""

    def __init__(self, settings: Settings, samples: Sequence[Sample], show: Show) -> None:
        self._settings = settings
        self._codec = codec(settings)
        self._ways = [Way(sample) for sample in samples]
        self._show = show
        self._lock = threading.Lock()
        self._reached: dict[UUID, str] = {}
        self._ends: dict[UUID, tuple[str, int, int]] = {}

    def run(self, device: Device, pictures: Path) -> list[Way]:
        """Sends, waits until the end of each is known, and draws the pictures.

        Raises:
            DemoFailed: something that was sent is neither a row, nor a dead letter, nor refused.
        """
        with self._following(), Database(self._settings.database_url.get_secret_value()) as database:
            for index, way in enumerate(self._ways):
                self._update(index, stage="sending")
                (sent,) = device.send([way.sample.path])
                self._update(index, sent=sent, stage=self._stage_of(sent))
            self._await_outcomes(database)
        rows = [way.diagnosis for way in self._ways if way.diagnosis is not None]
        for event_id, path in draw(rows, pictures, self._settings, self._codec):
            self._update_image(event_id, picture=path)
        return self._ways

    def _await_outcomes(self, database: Database) -> None:
        deadline = time.monotonic() + OUTCOME_SECONDS
        poll = threading.Event()
        while self._waiting():
            positions = database.positions()
            stored = [image for image, at in self._ends.copy().items() if positions.get(at[:2], 0) > at[2]]
            for diagnosis in database.diagnoses(stored):
                self._update_image(diagnosis.image_event_id, stage=diagnosis.status, diagnosis=diagnosis)
            for letter in database.dead_letters(stored):
                self._update_image(letter.image_event_id, stage="dead letter", dead_letter=letter)
            if time.monotonic() > deadline:
                raise DemoFailed(f"{self._waiting()} acknowledged images have no row and no dead letter")
            poll.wait(POLL_SECONDS)

    def _waiting(self) -> int:
        return sum(not way.settled for way in self._ways)

    def _stage_of(self, sent: Sent) -> str:
        """Where an image is just after the answer: the stages may have been quicker than that."""
        if sent.status is None:
            raise DemoFailed(f"the association broke off while {sent.path.name} was sent; what became of it is unknown")
        if sent.status is not StoreStatus.SUCCESS:
            return "refused"
        return self._reached.get(sent.event_id, IMAGES.name)

    def _update_image(self, event_id: UUID, **what: object) -> None:
        for index in self._indices(event_id):
            self._update(index, **what)

    def _indices(self, event_id: UUID) -> list[int]:
        return [i for i, way in enumerate(self._ways) if way.image_event_id == event_id]

    def _update(self, index: int, **what: object) -> None:
        with self._lock:
            self._ways[index] = replace(self._ways[index], **what)  # type: ignore[arg-type]
            self._show(self._ways)

    @contextmanager
    def _following(self) -> Iterator[None]:
        """Shows, meanwhile, which topic each image has reached."""
        stop = threading.Event()
        follower = Follower(self._settings, self._codec, (IMAGES, PREPROCESSED, DIAGNOSES, DEAD_LETTERS))

        def follow() -> None:
            for topic, received in follower.events(stop):
                if (image := received.event.origin) is None:
                    continue
                self._reached[image] = topic.name
                if topic in (DIAGNOSES, DEAD_LETTERS):
                    self._ends[image] = (received.at.topic, received.at.partition, received.at.offset)
                for index in self._indices(image):
                    if not self._ways[index].settled:
                        self._update(index, stage=topic.name)

        thread = threading.Thread(target=follow, name="follower", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
