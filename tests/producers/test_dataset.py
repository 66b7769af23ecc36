"""Importing a data set: nothing twice, nothing lost, and nothing of a patient beside `identities`."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import numpy as np
import pytest

from producers.dataset import AHEAD, DatasetImport, Fate, Imported, LabelledImage, Summary
from producers.dataset_labels import Author, Known
from producers.dataset_object import DatasetImage, DatasetObjects
from producers.errors import BrokenObject
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import MemoryPublisher
from schemas.events import Decision, LabelSource, SourceKind
from schemas.topics import IDENTITIES, IMAGES, LABELS

PATIENT = "Kowalska-Zofia-4711"
AUTHOR = Author("set.zip sha256:00", datetime(1970, 1, 1, tzinfo=UTC), {"pneumonia": "233604007", "mass": "309529002"})
Import = Callable[..., DatasetImport]


def labelled(number: int, **findings: bool) -> LabelledImage:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
    name = f"{number}.png"
    return LabelledImage(name, findings, lambda: DatasetImage(name, f"{PATIENT}-{number % 3}", pixels))


def broken(name: str) -> LabelledImage:
    def read() -> DatasetImage:
        raise BrokenObject(f"{name} is not a picture")

    return LabelledImage(name, {"mass": True}, read)


@pytest.fixture
def importing(twin) -> Iterator[Import]:
    """An import onto the log's twin, by what that log holds already."""
    pseudonyms = Pseudonyms(twin.settings.require_site_secret())
    with twin.publisher() as publisher:

        def make(author: Author = AUTHOR, to=publisher) -> DatasetImport:
            known = Known.of(twin.settings, twin.codec, twin.clients)
            objects = DatasetObjects("set.zip", "DX", "CHEST")
            return DatasetImport(to, Intake(to, pseudonyms, twin.settings), pseudonyms, objects, author, known)

        yield make


def fates(results: list[Imported]) -> dict[Fate, int]:
    return dict(Counter(result.fate for result in results))


def test_images_and_what_is_said_of_them(importing: Import, twin) -> None:
    images = [labelled(0, pneumonia=True, mass=False), labelled(1, mass=True), labelled(2, hernia=True)]
    results = list(importing().run(images))
    assert [result.fate for result in results] == [Fate.IMPORTED, Fate.IMPORTED, Fate.UNLABELLED]
    events = {event.event_id: event for event in twin.events(IMAGES)}
    assert len(events) == 2
    assert {event.source.kind for event in events.values()} == {SourceKind.DATASET}
    labels = twin.events(LABELS)
    assert {
        (results[0].event_id, "233604007", Decision.PRESENT),
        (results[1].event_id, "309529002", Decision.PRESENT),
    } | {(results[0].event_id, "309529002", Decision.ABSENT)} == {
        (label.image_event_id, label.code, label.decision) for label in labels
    }
    assert {label.source for label in labels} == {LabelSource.DATASET}
    assert all(events[label.image_event_id].study_uid == label.study_uid for label in labels)


def test_a_second_import_sends_nothing(importing: Import, twin) -> None:
    images = [labelled(number, mass=True) for number in range(5)]
    first = list(importing().run(images))
    again = list(importing().run(images))
    assert [result.event_id for result in first] == [result.event_id for result in again]
    assert fates(again) == {Fate.ALREADY: 5}
    assert len(twin.events(IMAGES)) == len(twin.events(LABELS)) == 5


def test_findings_that_are_asked_for_later_come_without_their_images(importing: Import, twin) -> None:
    images = [labelled(number, mass=True, pneumonia=False) for number in range(3)]
    list(importing(Author(AUTHOR.name, AUTHOR.labelled_at, {"mass": "309529002"})).run(images))
    assert fates(list(importing().run(images))) == {Fate.IMPORTED: 3}
    assert len(twin.events(IMAGES)) == 3
    assert len(twin.events(LABELS)) == 6


def test_another_edition_is_another_author(importing: Import, twin) -> None:
    list(importing().run([labelled(0, mass=True)]))
    edition = Author("set.zip sha256:01", AUTHOR.labelled_at, AUTHOR.codes)
    list(importing(edition).run([labelled(0, mass=False)]))
    assert len(twin.events(IMAGES)) == 1
    assert {label.author for label in twin.events(LABELS)} == {AUTHOR.name, edition.name}


def test_what_others_say_of_an_image_does_not_mean_that_it_is_there(importing: Import, twin) -> None:
    (only,) = importing(to=MemoryPublisher()).run([labelled(0, mass=True)])
    labels = AUTHOR.labels(only.event_id, "2.25.1", {"mass": False})
    twin.publish(LABELS, [label.model_copy(update={"source": LabelSource.RADIOLOGIST}) for label in labels])
    assert fates(list(importing().run([labelled(0, mass=True)]))) == {Fate.IMPORTED: 1}
    assert len(twin.events(IMAGES)) == 1


def test_what_is_under_way_is_finished_when_an_import_ends(importing: Import) -> None:
    publisher = Counting()
    running = importing(to=publisher).run(labelled(number, mass=True) for number in range(3 * AHEAD))
    next(running)
    running.close()
    assert publisher.begun == publisher.done > 0


class Counting(MemoryPublisher):
    """Takes its time, and counts what it began to publish and what it did."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.begun = self.done = 0

    def publish(self, facts) -> None:
        with self.lock:
            self.begun += 1
        threading.Event().wait(0.01)  # as long as a broker takes to answer
        with self.lock:
            self.done += 1


def test_an_import_that_breaks_off_goes_on_where_it_was(importing: Import, twin) -> None:
    images = [labelled(number, mass=True) for number in range(3 * AHEAD)]
    running = importing().run(images)
    for _ in range(3):
        next(running)
    running.close()
    begun = len(twin.events(LABELS))
    assert 3 <= begun < len(images)
    assert {label.image_event_id for label in twin.events(LABELS)} <= {event.event_id for event in twin.events(IMAGES)}
    rest = fates(list(importing().run(images)))
    assert rest == {Fate.ALREADY: begun, Fate.IMPORTED: len(images) - begun}
    assert len({event.event_id for event in twin.events(IMAGES)}) == len(images)


def test_a_broken_picture_costs_itself(importing: Import) -> None:
    summary = Summary.empty()
    for imported in importing().run([labelled(0, mass=True), broken("b.png"), labelled(2, mass=True)]):
        summary.add(imported)
    assert summary.to_json() == {
        "images": 3,
        "imported": 2,
        "already": 0,
        "unlabelled": 0,
        "labels": 2,
        "broken": [{"file": "b.png", "reason": "b.png is not a picture"}],
    }


def test_a_log_that_is_down_ends_it_and_no_label_is_without_its_image(importing: Import) -> None:
    publisher = MemoryPublisher()
    publisher.failure = LogUnavailable("away")
    with pytest.raises(LogUnavailable):
        list(importing(to=publisher).run(labelled(number, mass=True) for number in range(10)))
    assert not publisher.facts


def test_no_patient_is_named_but_in_identities(importing: Import, twin) -> None:
    list(importing().run([labelled(number, mass=True) for number in range(3)]))
    for topic in (IMAGES, LABELS):
        for event in twin.events(topic):
            assert PATIENT.encode() not in twin.codec.encode(topic, event)
    assert any(PATIENT in str(identity.attributes) for identity in twin.events(IDENTITIES))
    assert len({event.patient_pseudonym for event in twin.events(IMAGES)}) == 3
