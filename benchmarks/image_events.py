"""Radiographs as events, made as on a site: by the real intake, which de-identifies them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydicom.data import get_testdata_file

from producers.dataset_object import DatasetImage, DatasetObjects
from producers.files import read_object
from producers.intake import Intake, ReceivedObject
from producers.pseudonyms import Pseudonyms
from radiolog.log.publisher import MemoryPublisher
from radiolog.settings import Settings
from schemas.events import ImageEvent, ImageSource, SourceKind, image_event_id
from training.archive import open_archive

CR = "RG1_UNCR.dcm"
"""A chest radiograph of 7.2 MB, 1955 x 1841, as a device sends them; it comes with pydicom-data."""
ARCHIVE = Path(__file__).parents[1].parent / "shared" / "data" / "chest-xray-pneumonia-train-224.zip"
"""Chest radiographs of 224 x 224 pixels beside the checkout; not part of the project."""


def cr(settings: Settings, name: str = CR) -> ImageEvent:
    """One of pydicom's files."""
    return of_file(settings, Path(str(get_testdata_file(name, download=False))))


def of_file(settings: Settings, path: Path) -> ImageEvent:
    """The image of a DICOM file; a large one is in the site's object store."""
    intake, publisher = _intake(settings)
    source = ImageSource(kind=SourceKind.FILE, peer="", adapter="benchmark")
    received = read_object(path, source, intake.max_received_bytes)
    if received is None:
        raise RuntimeError(f"{path.name} is no image")
    return _event(received, intake, publisher)


def chests(settings: Settings, count: int) -> list[ImageEvent]:
    """Radiographs of the archive, wrapped as `radiolog data import` does; none where it is not there."""
    if not ARCHIVE.exists():
        return []
    intake, publisher = _intake(settings)
    objects = DatasetObjects(ARCHIVE.name, "CR", "CHEST")
    with open_archive(ARCHIVE, ()) as archive:
        every = len(archive.examples) // count
        chosen = islice(archive.examples, 0, None, max(1, every))
        images = [DatasetImage(one.file, one.patient, archive.content(one)) for one in islice(chosen, count)]
    return [_event(objects.received(image), intake, publisher) for image in images]


def another(image: ImageEvent, number: int | None = None) -> ImageEvent:
    """The same radiograph as an event of its own, of a study of its own.

    Args:
        image: what is to be seen.
        number: the same one makes the same event; without it there is none like it.
    """
    number = uuid4().int if number is None else number
    now = datetime.now(UTC)
    changes: dict[str, Any] = {"event_id": image_event_id(number.to_bytes(32, "big")), "study_uid": f"2.25.{number}"}
    return image.model_copy(update=changes | {"received_at": now, "published_at": now})


def others(images: Sequence[ImageEvent], count: int) -> list[ImageEvent]:
    """So many events of their own, of these radiographs in turn."""
    return [another(images[number % len(images)]) for number in range(count)]


def _intake(settings: Settings) -> tuple[Intake, MemoryPublisher]:
    publisher = MemoryPublisher()
    return Intake(publisher, Pseudonyms(settings.require_site_secret()), settings), publisher


def _event(received: ReceivedObject, intake: Intake, publisher: MemoryPublisher) -> ImageEvent:
    publisher.facts.clear()
    intake.accept(received)
    return next(fact.event for fact in publisher.facts if isinstance(fact.event, ImageEvent))
