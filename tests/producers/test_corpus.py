"""Every DICOM file of pydicom and pydicom-data through the intake: nothing identifying gets out, no pixel changes."""

import hashlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from producers import dicom_object, part10
from producers.deidentify import DUMMY_TEXT
from producers.files import publish_paths
from producers.intake import Intake
from producers.profile import Action, action_for
from schemas.events import Identity, ImageEvent, image_event_id

LIMIT = 1 << 30
#: Values in the identifying elements of which nothing may be left anywhere, whatever else holds the same text.
STRICT = {
    Tag(keyword)
    for keyword in (
        "AccessionNumber",
        "DeviceSerialNumber",
        "InstitutionAddress",
        "OperatorsName",
        "OtherPatientIDs",
        "PatientBirthDate",
        "PatientID",
        "PatientName",
        "ReferringPhysicianName",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "StudyInstanceUID",
    )
}
KEPT = {Action.KEEP, Action.ITEMS, Action.CHARACTERISTIC, Action.TIME}


@pytest.fixture
def published(
    dicom_file: Path, intake: Intake, images: Callable[[], list[ImageEvent]]
) -> tuple[part10.Part10, ImageEvent]:
    (result,) = publish_paths([dicom_file], intake)
    assert result.reason is None
    (event,) = images()
    assert event.event_id == result.event_id
    return part10.parse(dicom_file.read_bytes()), event


def test_what_is_refused_says_why(refused_file: Path, reason: str, intake: Intake) -> None:
    (result,) = publish_paths([refused_file], intake)
    assert result.event_id is None
    assert reason in str(result.reason)


def test_pixel_bytes_are_untouched(published: tuple[part10.Part10, ImageEvent]) -> None:
    file, event = published
    before = dicom_object.split(file.dataset, file.transfer_syntax, LIMIT)
    after = _payload(event)
    assert bytes(after.pixels) == bytes(before.pixels)
    assert event.payload.endswith(bytes(before.pixels))
    if len(before.pixels) and file.transfer_syntax not in dicom_object.INFLATED:
        assert bytes(before.pixels) in file.dataset


def test_pixels_decode_alike(dicom_file: Path, published: tuple[part10.Part10, ImageEvent]) -> None:
    """The first frame: that the bytes of all of them are untouched is said above, and some files have hundreds."""
    original, payload = dcmread(dicom_file, force=True), dcmread(BytesIO(published[1].payload))
    original.file_meta.TransferSyntaxUID = UID(published[0].transfer_syntax)  # some files do not say
    try:
        expected = pixel_array(original, index=0)
    except Exception as error:  # no pixels, or none that can be decoded
        if dicom_file.name == "badVR.dcm":
            return  # its Number of Frames is "1A", which is no number and does not get through
        with pytest.raises(type(error)):
            pixel_array(payload, index=0)
    else:
        np.testing.assert_array_equal(pixel_array(payload, index=0), expected)
        assert payload.get("NumberOfFrames") == original.get("NumberOfFrames")


def test_the_id_is_that_of_the_bytes(published: tuple[part10.Part10, ImageEvent]) -> None:
    file, event = published
    digest = hashlib.sha256(file.dataset).digest()
    assert (event.received_sha256, event.event_id) == (digest, image_event_id(digest))
    assert event.received_bytes == len(file.dataset)


def test_no_identifier_survives(published: tuple[part10.Part10, ImageEvent]) -> None:
    file, event = published
    before = dicom_object.split(file.dataset, file.transfer_syntax, LIMIT)
    text = _without_pixels(event)
    values = list(_values(before.header))
    kept = {value for tag, value in values if action_for(tag, None) in KEPT and tag not in STRICT}
    for tag, value in values:
        if action_for(tag, None) in KEPT or len(value) < _shortest(tag):
            continue
        if tag in STRICT or not any(value in other for other in kept):
            assert value not in text, f"the value of {tag} survives"


def test_private_and_unknown_elements_are_gone(published: tuple[part10.Part10, ImageEvent]) -> None:
    def check(dataset: Dataset) -> None:
        for element in dataset:
            assert not element.tag.is_private
            assert element.VR != "UN"
            assert element.VR != "PN" or str(element.value or "") in {"", DUMMY_TEXT}
            if element.VR == "SQ":
                for item in element.value:
                    check(item)

    check(_payload(published[1]).header)


def test_the_object_says_that_it_was_cleaned(published: tuple[part10.Part10, ImageEvent]) -> None:
    event = published[1]
    payload = dcmread(BytesIO(event.payload), stop_before_pixels=True)
    assert payload.PatientIdentityRemoved == "YES"
    assert payload.LongitudinalTemporalInformationModified == "MODIFIED"
    assert payload.DeidentificationMethod == event.deidentification
    codes = [code.CodeValue for code in payload.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert payload.PatientID == event.patient_pseudonym
    assert payload.StudyInstanceUID == event.study_uid
    assert payload.SeriesInstanceUID == event.series_uid
    assert payload.SOPInstanceUID == payload.file_meta.MediaStorageSOPInstanceUID == event.sop_instance_uid
    assert payload.file_meta.TransferSyntaxUID == event.transfer_syntax_uid


def test_a_second_time_gives_the_same_bytes(
    dicom_file: Path,
    published: tuple[part10.Part10, ImageEvent],
    intake: Intake,
    images: Callable[[], list[ImageEvent]],
    identities: Callable[[], list[Identity]],
) -> None:
    known = len(identities())
    list(publish_paths([dicom_file], intake))
    again = images()[-1]
    assert again.payload == published[1].payload
    assert len(identities()) == known, "identities that the log has are not published again"


def _payload(event: ImageEvent) -> dicom_object.DicomObject:
    file = part10.parse(event.payload)
    assert file.has_preamble
    assert file.transfer_syntax == event.transfer_syntax_uid
    return dicom_object.split(file.dataset, file.transfer_syntax, LIMIT)


def _without_pixels(event: ImageEvent) -> bytes:
    """Every byte of the event but those of the pixels, the file meta information included."""
    payload = event.payload[: len(event.payload) - len(_payload(event).pixels)]
    fields = event.model_dump(exclude={"payload", "received_sha256", "event_id", "received_at", "published_at"})
    return payload + repr(list(fields.values())).encode()


def _shortest(tag: BaseTag) -> int:
    """Shorter values than this are found by chance, in the digits of UIDs and the like."""
    if tag.is_private:
        return 7
    return 3 if tag in STRICT - {Tag("AccessionNumber"), Tag("PatientID")} else 5


def _values(dataset: Dataset) -> Iterator[tuple[BaseTag, bytes]]:
    """Each single value as it stands in the bytes, of nested and private elements too."""
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag).value
        try:
            parsed = dataset[tag].value
        except Exception:
            parsed = None
        if isinstance(parsed, Sequence):
            for item in parsed:
                yield from _values(item)
        elif isinstance(raw, bytes):
            for value in raw.split(b"\\"):
                if len(set(value.strip(b"\0 "))) > 1:  # a row of zeros names no one
                    yield tag, value.strip(b"\0 ")
