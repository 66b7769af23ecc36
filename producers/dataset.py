"""A labelled data set onto the log: each image as any device's, and labels beside it.

The contract:

1. An image goes the way of all others (`producers.intake`): de-identified, and acknowledged by the broker.
2. Only then its labels are published. So a label on the log means that its image is there too.
3. What the log has already is not sent again: an import that broke off goes on where it was, and a second one does
   nothing. Ids follow from content alone, so even what is sent twice is known to be the same.
4. What is wrong with one image costs that image; a log that is down ends the import.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from producers.dataset_labels import Author, Known
from producers.dataset_object import DatasetImage, DatasetObjects
from producers.errors import Refused
from producers.intake import Intake, ReceivedObject
from producers.pseudonyms import Pseudonyms
from radiolog.log.publisher import Fact, Publisher
from schemas.events import image_event_id
from schemas.topics import LABELS

THREADS: Final = 4
"""They wait for the broker most of the time."""
AHEAD: Final = 32
"""Images read before the oldest of them is on the log; bounds what is held in memory."""


class Fate(StrEnum):
    """What became of an image."""

    IMPORTED = "imported"
    ALREADY = "already on the log"
    UNLABELLED = "not labelled"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image of a data set that is read when its turn comes.

    Attributes:
        name: that no other image of the data set has.
        findings: by name, whether it is there; of those that are missing nothing is said.
        read: gives the image, or raises `Refused`.
    """

    name: str
    findings: Mapping[str, bool]
    read: Callable[[], DatasetImage]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the image of this name, how many labels went onto the log with it, and what is wrong with it."""

    name: str
    fate: Fate
    event_id: UUID | None = None
    labels: int = 0
    reason: str | None = None


class DatasetImport:
    """Publishes the images of one data set and their labels.

    Args:
        publisher: of labels.
        intake: of images.
        pseudonyms: those of the intake.
        objects: makes images DICOM objects.
        author: of the labels.
        known: what the log holds of imports.
    """

    def __init__(
        self,
        publisher: Publisher,
        intake: Intake,
        pseudonyms: Pseudonyms | None,
        objects: DatasetObjects,
        author: Author,
        known: Known,
    ) -> None:
        self._publisher = publisher
        self._intake = intake
        self._pseudonyms = pseudonyms
        self._objects = objects
        self._author = author
        self._known = known

    def run(self, images: Iterable[LabelledImage]) -> Iterator[Imported]:
        """Imports all of them, some at a time, and says in their order what became of each.

        However it ends, by the caller as well, what is under way is finished first.

        Raises:
            LogError: the log does not acknowledge; what was not yielded yet may or may not be on it.
        """
        under_way = deque[Future[Imported]]()
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="import")
        try:
            for image in images:
                if len(under_way) == AHEAD:
                    yield under_way.popleft().result()
                under_way.append(self._begun(image, pool))
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _begun(self, image: LabelledImage, pool: ThreadPoolExecutor) -> Future[Imported]:
        """Reads the image here, since archives are read by one thread, and leaves the rest to others."""
        try:
            if not self._author.codes.keys() & image.findings.keys():
                return _done(Imported(image.name, Fate.UNLABELLED))
            return pool.submit(self._accept, image, image.read())
        except Refused as refused:
            return _done(Imported(image.name, Fate.BROKEN, reason=str(refused)))

    def _accept(self, image: LabelledImage, content: DatasetImage) -> Imported:
        try:
            received = self._objects.received(content)
            event_id = image_event_id(hashlib.sha256(received.dataset).digest())
            was_there = event_id in self._known.images
            labels = self._published(image, received, event_id, was_there)
        except Refused as refused:
            return Imported(image.name, Fate.BROKEN, reason=str(refused))
        if labels:
            self._publisher.publish(labels)
        fate = Fate.ALREADY if was_there and not labels else Fate.IMPORTED
        return Imported(image.name, fate, event_id, len(labels))

    def _published(self, image: LabelledImage, received: ReceivedObject, event_id: UUID, was_there: bool) -> list[Fact]:
        """Publishes the image, unless the log has it, and gives the labels that are missing."""
        with self._intake.open(received) as opened:
            names = opened.subject.original
            if self._pseudonyms is not None:
                names = opened.subject.pseudonymous(self._pseudonyms)
            if not was_there:
                self._intake.publish(opened)
        labels = self._author.labels(event_id, names.study, image.findings)
        return [Fact(LABELS, label) for label in labels if label.event_id not in self._known.labels]


@dataclass(slots=True)
class Summary:
    """Counts of an import, and the images that are broken."""

    fates: Counter[Fate]
    labels: int
    broken: list[Imported]

    @classmethod
    def empty(cls) -> "Summary":
        """Nothing yet."""
        return cls(Counter(), 0, [])

    def add(self, imported: Imported) -> None:
        """Counts one more."""
        self.fates[imported.fate] += 1
        self.labels += imported.labels
        if imported.fate is Fate.BROKEN:
            self.broken.append(imported)

    @property
    def images(self) -> int:
        """How many were looked at."""
        return self.fates.total()

    @property
    def broken_files(self) -> list[dict[str, str | None]]:
        """The broken ones, as JSON values."""
        return [{"file": item.name, "reason": item.reason} for item in self.broken]

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        counts = {fate.name.lower(): self.fates[fate] for fate in Fate if fate is not Fate.BROKEN}
        return {"images": self.images, **counts, "labels": self.labels, "broken": self.broken_files}


def _done(imported: Imported) -> Future[Imported]:
    future = Future[Imported]()
    future.set_result(imported)
    return future
