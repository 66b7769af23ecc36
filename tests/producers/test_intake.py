import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from threading import Barrier, Thread

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from structlog.testing import capture_logs

from producers import intake as intake_module
from producers import part10
from producers.errors import BrokenObject, TooLarge, WrongSopClass
from producers.intake import NOT_DEIDENTIFIED, Intake, ReceivedObject
from producers.profile import METHOD
from producers.pseudonyms import Pseudonyms
from radiolog.log.errors import LogUnavailable
from radiolog.log.objects import ObjectStore, ObjectStoreUnavailable
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings
from schemas.events import Identity, IdentityKind, ImageEvent, ImageSource, SourceKind, image_event_id
from schemas.topics import IDENTITIES, IMAGES

SOURCE = ImageSource(kind=SourceKind.C_STORE, peer="CT_1", adapter="RADIOLOG")
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def received(new_object: Callable[..., Dataset], written: Callable[..., bytes]) -> Callable[..., ReceivedObject]:
    def make(sop_class: str | None = None, **elements: object) -> ReceivedObject:
        dataset = part10.parse(written(new_object(**elements))).dataset
        return ReceivedObject(dataset, ExplicitVRLittleEndian, SOURCE, THEN, sop_class)

    return make


def test_one_object_is_one_trace(
    intake: Intake, received: Callable[..., ReceivedObject], publisher: MemoryPublisher
) -> None:
    intake.accept(received())
    intake.accept(received(PatientID="another"))
    traces = [fact.trace.trace_id for fact in publisher.facts if fact.trace is not None]
    assert [traces.count(trace) for trace in dict.fromkeys(traces)] == [5, 3]  # study and series are known


def test_the_image_event(
    intake: Intake,
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
    pseudonyms: Pseudonyms,
) -> None:
    before = datetime.now(UTC)
    sent = received(
        BodyPartExamined="CHEST",
        ViewPosition="PA",
        BurnedInAnnotation="NO",
        IssuerOfPatientID="NORTH",
        TimezoneOffsetFromUTC="+0100",
        AcquisitionDateTime="20240310120000",
    )
    event_id = intake.accept(sent)
    (event,) = images()
    digest = hashlib.sha256(sent.dataset).digest()
    assert event.event_id == event_id == image_event_id(digest)
    assert event.received_sha256 == digest
    assert event.received_bytes == len(sent.dataset)
    assert (event.modality, event.body_part, event.view_position) == ("CR", "CHEST", "PA")
    assert event.burned_in_annotation is False
    assert event.patient_pseudonym == pseudonyms.patient("MRN-4711", "NORTH")
    assert event.study_uid == event.key == pseudonyms.uid("1.2.3.4.5.6.7.8.9.10")
    assert event.deidentification == METHOD
    assert event.source == SOURCE
    assert event.received_at == THEN
    assert before <= event.published_at <= datetime.now(UTC)
    assert event.acquired_at is not None
    assert (event.acquired_at.hour, event.acquired_at.date() < datetime(2024, 3, 10).date()) == (11, True)


def test_identities_come_before_the_image(
    intake: Intake, received: Callable[..., ReceivedObject], publisher: MemoryPublisher
) -> None:
    intake.accept(received())
    assert [fact.topic for fact in publisher.facts] == [IDENTITIES] * 4 + [IMAGES]


def test_what_the_identities_say(
    intake: Intake,
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
    identities: Callable[[], list[Identity]],
) -> None:
    sent = received(PatientBirthDate="19610417", AccessionNumber="ACC-1", StudyID="7", PatientName="Müller^Jörg")
    intake.accept(sent)
    (image,) = images()
    by_kind = {identity.kind: identity for identity in identities()}
    assert by_kind[IdentityKind.PATIENT].key == image.patient_pseudonym
    assert by_kind[IdentityKind.PATIENT].attributes["PatientID"] == "MRN-4711"
    assert by_kind[IdentityKind.PATIENT].attributes["PatientBirthDate"] == "19610417"
    assert by_kind[IdentityKind.STUDY].key == image.study_uid
    assert by_kind[IdentityKind.STUDY].attributes["AccessionNumber"] == "ACC-1"
    assert by_kind[IdentityKind.SERIES].key == image.series_uid
    assert by_kind[IdentityKind.INSTANCE].key == image.sop_instance_uid
    original = dcmread(BytesIO(sent.dataset), force=True).SOPInstanceUID
    assert by_kind[IdentityKind.INSTANCE].attributes["SOPInstanceUID"] == original


def test_known_identities_are_published_once(
    intake: Intake, received: Callable[..., ReceivedObject], identities: Callable[[], list[Identity]]
) -> None:
    for _ in range(3):
        intake.accept(received())  # a new SOP Instance UID each time
    kinds = [identity.kind for identity in identities()]
    assert kinds.count(IdentityKind.PATIENT) == kinds.count(IdentityKind.STUDY) == 1
    assert kinds.count(IdentityKind.INSTANCE) == 3
    intake.accept(received(AccessionNumber="NEW"))
    assert [identity.kind for identity in identities()].count(IdentityKind.STUDY) == 2


def test_identities_that_were_not_acknowledged_come_again(
    intake: Intake, received: Callable[..., ReceivedObject], publisher: MemoryPublisher
) -> None:
    sent = received()
    publisher.failure = LogUnavailable("no broker")
    with pytest.raises(LogUnavailable):
        intake.accept(sent)
    publisher.failure = None
    intake.accept(sent)
    assert len(publisher.facts) == 5


def test_patients_without_id_are_told_apart_by_study(
    intake: Intake, received: Callable[..., ReceivedObject], images: Callable[[], list[ImageEvent]]
) -> None:
    for study in ("1.2.3", "1.2.3", "1.2.4"):
        intake.accept(received(PatientID="", StudyInstanceUID=study))
    first, same, other = (image.patient_pseudonym for image in images())
    assert first == same != other


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_missing_uid_is_named(
    keyword: str, intake: Intake, new_object: Callable[..., Dataset], written: Callable[..., bytes]
) -> None:
    dataset = new_object()
    content = part10.parse(written(dataset)).dataset
    # Turn the element into one that nobody asks for, of the same size.
    tag = {"StudyInstanceUID": 0x0D, "SeriesInstanceUID": 0x0E, "SOPInstanceUID": 0x18, "SOPClassUID": 0x16}[keyword]
    group = b"\x08\x00" if keyword.startswith("SOP") else b"\x20\x00"
    broken = content.replace(group + bytes([tag, 0]) + b"UI", group + b"\x00\x52" + b"UI", 1)
    with pytest.raises(BrokenObject, match=r"missing|lacks SOP Class UID"):
        intake.accept(ReceivedObject(broken, ExplicitVRLittleEndian, SOURCE, THEN))


def test_two_uids_are_not_one(intake: Intake, received: Callable[..., ReceivedObject]) -> None:
    with pytest.raises(BrokenObject, match="is not one UID"):
        intake.accept(received(StudyInstanceUID=["1.2.3", "1.2.4"]))


def test_no_event_holds_control_characters(
    intake: Intake,
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
    identities: Callable[[], list[Identity]],
) -> None:
    intake.accept(received(PatientName="A\0B^\x1f\x7fC", AccessionNumber="1\n2", Modality="C\0R"))
    attributes = {keyword: text for identity in identities() for keyword, text in identity.attributes.items()}
    assert (attributes["PatientName"], attributes["AccessionNumber"]) == ("AB^C", "12")
    assert images()[0].modality is None


def test_nor_where_identities_are_kept(
    settings: Settings,
    publisher: MemoryPublisher,
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
) -> None:
    Intake(publisher, None, settings).accept(received(PatientID="7\0008", Modality="C\0R", BodyPartExamined="X" * 99))
    (event,) = images()
    assert (event.patient_pseudonym, event.modality, event.body_part) == ("78", "CR", None)


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_uid_with_control_characters_is_refused(
    keyword: str, intake: Intake, received: Callable[..., ReceivedObject]
) -> None:
    with pytest.raises(BrokenObject, match=f"{keyword} .* holds control characters"):
        intake.accept(received(**{keyword: "1.2\x003.4"}))


def test_a_class_that_is_no_uid_is_refused(intake: Intake, received: Callable[..., ReceivedObject]) -> None:
    with pytest.raises(BrokenObject, match=r"SOPClassUID \(0008,0016\) is not a UID"):
        intake.accept(received(SOPClassUID="Doe^Jane"))


@pytest.mark.parametrize("keyword", ["PatientID", "PatientName", "AccessionNumber"])
def test_an_endless_identifier_is_refused(
    keyword: str, intake: Intake, received: Callable[..., ReceivedObject], publisher: MemoryPublisher
) -> None:
    intake.accept(received(**{keyword: "7" * 1024}))
    with pytest.raises(BrokenObject, match=rf"{keyword} \(....,....\) is longer than 1024 characters"):
        intake.accept(received(**{keyword: "7" * 1025}))
    assert len(publisher.facts) == 5


def test_an_unknown_value_representation_is_named(intake: Intake, received: Callable[..., ReceivedObject]) -> None:
    sent = received(BodyPartExamined="CHEST")
    odd = replace(sent, dataset=sent.dataset.replace(b"\x18\0\x15\0CS", b"\x18\0\x15\0XQ"))
    with pytest.raises(BrokenObject, match=r"\(0018,0015\) has a value representation that DICOM does not know"):
        intake.accept(odd)


@pytest.mark.parametrize("step", ["deidentify", "acquired_at", "sop_class_of"])
def test_whatever_a_header_leads_to_is_a_broken_object(
    step: str, intake: Intake, received: Callable[..., ReceivedObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotImplementedError("Doe^Jane")

    monkeypatch.setattr(intake_module, step, fail)
    with pytest.raises(BrokenObject, match=r"cannot be read or de-identified \(NotImplementedError\)$"):
        intake.accept(received())


def test_a_fault_after_the_header_stays_visible(
    intake: Intake, received: Callable[..., ReceivedObject], publisher: MemoryPublisher
) -> None:
    publisher.failure = RuntimeError("ours")
    with pytest.raises(RuntimeError, match="ours"):
        intake.accept(received())


def test_another_sop_class_than_announced(intake: Intake, received: Callable[..., ReceivedObject]) -> None:
    with pytest.raises(WrongSopClass):
        intake.accept(received(sop_class="1.2.840.10008.5.1.4.1.1.2"))


def test_too_large_for_an_event(
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    received: Callable[..., ReceivedObject],
) -> None:
    intake = Intake(publisher, pseudonyms, make_settings(inline_max_bytes=4096, object_max_bytes=4096))
    intake.accept(received(PixelData=bytes(1024)))
    with pytest.raises(TooLarge, match="exceed the log's limit of 4096"):
        intake.accept(received(PixelData=bytes(4096)))
    assert len(publisher.facts) == 5


@pytest.fixture
def by_reference(
    make_settings: Callable[..., Settings], publisher: MemoryPublisher, pseudonyms: Pseudonyms
) -> tuple[Intake, ObjectStore]:
    """An intake that puts all but the smallest objects into the store, and the store."""
    settings = make_settings(inline_max_bytes=4096, object_max_bytes=100_000)
    return Intake(publisher, pseudonyms, settings), ObjectStore.from_settings(settings)


def test_a_large_object_goes_to_the_store_and_its_event_says_where(
    by_reference: tuple[Intake, ObjectStore],
    intake: Intake,
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
) -> None:
    large, sent = by_reference, received(PixelData=bytes(range(256)) * 200)
    assert large[0].accept(sent) == intake.accept(sent)
    referred, whole = images()
    assert (referred.payload, whole.payload_ref) == (b"", None)
    assert referred.payload_ref is not None
    assert referred.payload_ref.sha256 == hashlib.sha256(whole.payload).digest()
    assert referred.payload_ref.size == len(whole.payload)
    assert large[1].get(referred.payload_ref) == whole.payload
    assert b"Doe" not in whole.payload


def test_up_to_the_inline_maximum_nothing_goes_to_the_store(
    by_reference: tuple[Intake, ObjectStore],
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
) -> None:
    by_reference[0].accept(received(PixelData=bytes(1024)))
    assert images()[0].payload
    assert not list(by_reference[1].entries())


def test_what_the_store_does_not_take_is_not_published(
    by_reference: tuple[Intake, ObjectStore],
    settings: Settings,
    received: Callable[..., ReceivedObject],
    publisher: MemoryPublisher,
) -> None:
    place = settings.state_dir / "objects"
    place.write_text("no folder")
    sent = received(PixelData=bytes(50_000))
    with pytest.raises(ObjectStoreUnavailable):
        by_reference[0].accept(sent)
    assert not publisher.facts
    place.unlink()
    by_reference[0].accept(sent)
    assert [fact.topic for fact in publisher.facts] == [IDENTITIES] * 4 + [IMAGES]


def test_the_object_is_there_before_its_event(
    make_settings: Callable[..., Settings], pseudonyms: Pseudonyms, received: Callable[..., ReceivedObject]
) -> None:
    settings = make_settings(inline_max_bytes=4096)

    class Looking(MemoryPublisher):
        def publish(self, facts: Sequence[Fact]) -> None:
            ref = getattr(facts[-1].event, "payload_ref", None)
            assert ref is not None
            assert ObjectStore.from_settings(settings).get(ref)
            super().publish(facts)

    publisher = Looking()
    Intake(publisher, pseudonyms, settings).accept(received(PixelData=bytes(50_000)))
    assert publisher.facts


def test_a_resend_names_the_same_object(
    by_reference: tuple[Intake, ObjectStore],
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
    publisher: MemoryPublisher,
) -> None:
    sent = received(PixelData=bytes(50_000))
    publisher.failure = LogUnavailable("no broker")
    with pytest.raises(LogUnavailable):
        by_reference[0].accept(sent)
    publisher.failure = None
    by_reference[0].accept(sent)
    by_reference[0].accept(sent)
    first, second = images()
    assert first.payload_ref == second.payload_ref
    assert len(list(by_reference[1].entries())) == 1


def test_private_bulk_does_not_count(
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
) -> None:
    dataset = new_object()
    dataset.private_block(0x0029, "ACME", create=True).add_new(1, "OB", bytes(100_000))
    intake = Intake(publisher, pseudonyms, make_settings(inline_max_bytes=4096, object_max_bytes=4096))
    content = part10.parse(written(dataset)).dataset
    intake.accept(ReceivedObject(content, ExplicitVRLittleEndian, SOURCE, THEN))
    assert len(publisher.facts) == 5


def test_a_site_that_keeps_identities(
    settings: Settings,
    publisher: MemoryPublisher,
    received: Callable[..., ReceivedObject],
    images: Callable[[], list[ImageEvent]],
) -> None:
    sent = received()
    with capture_logs() as lines:
        Intake(publisher, None, settings).accept(sent)
    assert [line["log_level"] for line in lines if "identities stay on the log" in line["event"]] == ["warning"]
    assert [line["deidentified"] for line in lines if line["event"] == "image published"] == [False]
    (event,) = images()
    assert len(publisher.facts) == 1
    assert event.deidentification == NOT_DEIDENTIFIED
    assert event.patient_pseudonym == "MRN-4711"
    assert event.study_uid == "1.2.3.4.5.6.7.8.9.10"
    assert event.payload.endswith(sent.dataset)


def test_threads_share_one_intake(
    intake: Intake, received: Callable[..., ReceivedObject], images: Callable[[], list[ImageEvent]]
) -> None:
    objects, ready = [received() for _ in range(8)], Barrier(8)

    def send(item: ReceivedObject) -> None:
        ready.wait()
        intake.accept(item)

    threads = [Thread(target=send, args=(item,)) for item in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({event.event_id for event in images()}) == 8
