"""A data set from the log: pinned, joined, split and rid of duplicates, and the same on another day."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from radiolog.log.publisher import Fact
from radiolog.log.stage import Received
from schemas.events import PreprocessedImage
from schemas.topics import IMAGES, LABELS, PREPROCESSED
from tests.training.sets import CODES, PLAN, SHARES, SPEC, decode, imported, labelled, log_of, said, verdict
from training.inputs import Job, run
from training.manifest import Manifest
from training.replay import From, ReplayError, replay
from training.split import Split

BROKEN = UUID(int=7)
PNEUMONIA, VIRAL = CODES["pneumonia"], CODES["viral pneumonia"]


@pytest.fixture
def put(twin):
    """Puts labelled pictures on the log."""
    with twin.publisher() as publisher:
        yield lambda images, edition="00": imported(twin, publisher, images, edition)


@pytest.fixture
def replayed(twin):
    def make(**changes) -> Manifest:
        return replay(log_of(twin), dataclasses.replace(PLAN, **changes), decode)

    return make


def test_patients_are_not_shared_and_every_image_is_there(put, replayed) -> None:
    put([labelled(number) for number in range(60)])
    manifest = replayed()
    assert len(manifest.inputs) == 60
    homes = {}
    for image in manifest.inputs:
        assert homes.setdefault(image.patient, image.split) is image.split
    assert {part: len(manifest.of(part)) for part in Split} == pytest.approx(
        {p: s * 60 for p, s in SHARES.items()}, abs=4
    )
    positive = {part: sum(image.labels[PNEUMONIA] for image in manifest.of(part)) for part in Split}
    assert all(positive.values())
    assert [image.split for image in manifest.inputs] == sorted(
        (i.split for i in manifest.inputs), key=list(Split).index
    )


def test_the_same_slice_gives_the_same_manifest(put, replayed) -> None:
    put([labelled(number) for number in range(20)])
    assert replayed().sha256 == replayed().sha256
    assert replayed(seed=2).sha256 != replayed().sha256


def test_what_comes_later_changes_nothing_before(put, replayed, twin) -> None:
    put([labelled(number) for number in range(8)])
    until = datetime.now(UTC) + timedelta(milliseconds=2)
    twin.until(lambda: datetime.now(UTC) > until)
    before = replayed(until=until)
    put([labelled(number) for number in range(8, 12)])
    (first, *_) = twin.events(IMAGES)
    twin.publish(LABELS, [verdict(first, present=False), verdict(first, present=True, hours=2)])
    assert replayed(until=until).sha256 == before.sha256
    assert len(replayed().inputs) == 12
    assert len(replayed(since=until).inputs) == 4


def test_a_resent_image_counts_once_as_it_came_first(put, replayed, twin) -> None:
    put([labelled(number) for number in range(6)])
    before = replayed()
    twin.publish(IMAGES, twin.events(IMAGES)[:4])
    after = replayed()
    assert after.inputs == before.inputs
    assert after.report["images"]["resent"] == 4
    assert after.sha256 != before.sha256  # another slice


def test_the_last_label_counts_and_conflicts_are_told(put, replayed, twin) -> None:
    put([labelled(number, pneumonia=True) for number in range(4)])
    first, second, *_ = twin.events(IMAGES)
    twin.publish(LABELS, [verdict(first, present=False), verdict(second, present=False, hours=-1)])
    manifest = replayed()
    assert said(manifest)[first.event_id] == {PNEUMONIA: False, VIRAL: False}
    assert said(manifest)[second.event_id] == {PNEUMONIA: True}
    assert manifest.report["labels"]["conflicts"] == 2
    assert set(manifest.report["labels"]["conflicting"]) == {str(first.event_id), str(second.event_id)}


def test_only_what_is_known_is_a_label(put, replayed) -> None:
    put([labelled(0, viral_pneumonia=True), labelled(1, pneumonia=True), labelled(2, mass=True)])
    manifest = replayed()
    assert {frozenset(labels.items()) for labels in said(manifest).values()} == {
        frozenset({(PNEUMONIA, True), (VIRAL, True)}),
        frozenset({(PNEUMONIA, True)}),
    }
    assert manifest.report["images"]["labelled with other findings"] == 1
    assert len(replayed(findings={VIRAL: "viral pneumonia"}).inputs) == 1


def test_images_without_label_and_records_that_are_none_are_counted(put, replayed, twin, image) -> None:
    put([labelled(number) for number in range(3)])
    twin.publish(IMAGES, [image(1)])
    twin.publish_raw(IMAGES, b"no event")
    twin.publish_raw(LABELS, b"no event")
    report = replayed().report
    assert report["images"]["unlabelled"] == 1
    assert report["images"]["records"] == 5
    assert len(report["unreadable records"]) == 2


def test_what_cannot_be_decoded_is_listed(put, replayed, twin) -> None:
    put([labelled(number) for number in range(3)])
    broken = twin.events(IMAGES)[0]
    cut = broken.model_copy(update={"event_id": BROKEN, "payload": broken.payload[:-900]})
    twin.publish(IMAGES, [cut])
    twin.publish(LABELS, [verdict(cut, present=True)])
    manifest = replayed()
    assert len(manifest.inputs) == 3
    assert list(manifest.report["undecodable"]) == [str(BROKEN)]


def test_copies_across_splits_leave_the_training_side(put, replayed) -> None:
    originals = [labelled(number, patient=f"p{number}") for number in range(40)]
    copies = [
        labelled(100 + number, seed=number, patient=f"q{number}", pneumonia=number % 3 == 0) for number in range(40)
    ]
    put([*originals, *copies])
    manifest = replayed()
    report = manifest.report["duplicates"]
    assert report["pairs"]["exact across splits"] > 0
    assert sum(report["pairs"].values()) == 40
    removed = {entry["event_id"]: entry for entry in report["removed"]}
    assert len(removed) == report["pairs"]["exact across splits"]
    assert len(manifest.inputs) == 80 - len(removed)
    splits = {image.input_sha256: set() for image in manifest.inputs}
    for image in manifest.inputs:
        splits[image.input_sha256].add(image.split)
        assert image.event_id not in removed
    assert all(len(found) == 1 for found in splits.values())
    assert {entry["split"] for entry in removed.values()} <= {"train", "validation"}


def test_pixels_that_were_preprocessed_give_the_same_inputs(put, replayed, twin) -> None:
    put([labelled(number) for number in range(10)])
    items = [item for item in twin.read(twin.pin(IMAGES)) if isinstance(item, Received)]
    other = dataclasses.replace(SPEC, version=2)
    made = [preprocessed(item, spec.sha256) for item in items for spec in (other, SPEC)]
    with twin.publisher() as publisher:
        publisher.publish([Fact(PREPROCESSED, event) for event in made])
    anew, taken = replayed(), replayed(source=From.PREPROCESSED)
    assert {(i.event_id, i.input_sha256, i.split) for i in anew.inputs} == {
        (i.event_id, i.input_sha256, i.split) for i in taken.inputs
    }
    assert taken.report["images"]["made by another spec"] == 10
    assert taken.images.topic == "t.preprocessed"


def test_no_labelled_image_is_an_error_that_says_what_there_was(replayed, twin, image) -> None:
    twin.publish(IMAGES, [image(1)])
    with pytest.raises(ReplayError, match=r"pneumonia.*\(1 unlabelled\)"):
        replayed()


def test_an_empty_slice_says_so(replayed) -> None:
    with pytest.raises(ReplayError, match="it is empty"):
        replayed()


def test_a_manifest_names_no_patient(put, replayed) -> None:
    put([labelled(number, patient="Kowalska-Zofia") for number in range(4)])
    assert "Kowalska" not in json.dumps(replayed().to_json())


def preprocessed(item: Received, spec_sha256: str) -> PreprocessedImage:
    pixels = run(Job(item.event.payload, SPEC))
    event = item.event
    shared = ("patient_pseudonym", "study_uid", "series_uid", "sop_instance_uid", "received_at", "published_at")
    return PreprocessedImage(
        event_id=event.event_id,
        code_version="test",
        source=item.ref,
        status="PIXELS",
        spec_id="test@1",
        spec_sha256=spec_sha256,
        frame=0,
        height=SPEC.size,
        width=SPEC.size,
        dtype="UINT8",
        preprocessed_at=event.received_at,
        pixels=pixels.tobytes(),
        **{name: getattr(event, name) for name in shared},
    )
