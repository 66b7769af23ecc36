"""Laws of de-identification: stable, keyed, idempotent in effect, and true to the distances between dates."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from producers import dicom_object
from producers.deidentify import deidentify
from producers.identifiers import PERSONAL, PLACES
from producers.kept_text import KEPT_TEXT
from producers.profile import standard_vrs
from producers.pseudonyms import Pseudonyms
from producers.subject import Subject
from radiolog.settings import MIB
from tests.planting import PEOPLE, Writer, found

ONE, OTHER = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
DATES = st.dates(date(1911, 1, 1), date(2099, 12, 31))
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs"), exclude_characters="\\^="), max_size=20
)
IDS = st.text("0123456789ABCDEFGH-./", min_size=1, max_size=16)

TEXT = {"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"}


def object_of(name: str, patient_id: str, days: list[date]) -> Dataset:
    """An object with a name, an ID and dates, some of them nested."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    header.SOPInstanceUID, header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    header.StudyDate, header.SeriesDate = f"{days[0]:%Y%m%d}", f"{days[1]:%Y%m%d}"
    header.AcquisitionDateTime = f"{days[2]:%Y%m%d}101112.5+0100"
    header.PatientName, header.PatientID = name, patient_id
    header.Manufacturer, header.Modality, header.PatientAge = "ACME", "CR", "042Y"
    nested = Dataset()
    nested.DateOfSecondaryCapture, nested.ReferencedSOPInstanceUID = f"{days[3]:%Y%m%d}", "1.2.3.1"
    header.SourceImageSequence = [nested]
    return header


def through(header: Dataset, pseudonyms: Pseudonyms) -> tuple[bytes, Dataset]:
    """A header as the intake cleans it, written and read again."""
    before = b"".join(dicom_object.pieces(header, memoryview(b""), ExplicitVRLittleEndian)[1:])
    clean = dicom_object.split(before, ExplicitVRLittleEndian, MIB).header
    names = Subject.of(clean).pseudonymous(pseudonyms)
    deidentify(clean, pseudonyms, names.patient)
    after = b"".join(dicom_object.pieces(clean, memoryview(b""), ExplicitVRLittleEndian)[1:])
    return after, dicom_object.split(after, ExplicitVRLittleEndian, MIB).header


def dates_of(header: Dataset) -> list[date]:
    texts = [header.StudyDate, header.SeriesDate, header.AcquisitionDateTime[:8]]
    texts.append(header.SourceImageSequence[0].DateOfSecondaryCapture)
    return [date(int(text[:4]), int(text[4:6]), int(text[6:8])) for text in texts]


@settings(max_examples=30, deadline=None)
@given(NAMES, IDS, st.lists(DATES, min_size=4, max_size=4))
def test_the_same_secret_gives_the_same_bytes_and_another_one_others(
    name: str, patient_id: str, days: list[date]
) -> None:
    (first, header), (second, _), (third, other) = (
        through(object_of(name, patient_id, days), key) for key in (ONE, ONE, OTHER)
    )
    assert first == second
    assert first != third
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert header[keyword].value != other[keyword].value
    assert header.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID


@settings(max_examples=30, deadline=None)
@given(IDS, st.lists(DATES, min_size=8, max_size=8))
def test_dates_of_one_patient_keep_their_distances(patient_id: str, days: list[date]) -> None:
    """In one object, and from one to the next, since an interval between two studies is what a reader looks at."""
    objects = [through(object_of("Doe^Jane", patient_id, part), ONE)[1] for part in (days[:4], days[4:])]
    shifts = {before - after for before, after in zip(days, dates_of(objects[0]) + dates_of(objects[1]), strict=True)}
    (shift,) = shifts
    assert timedelta(days=1) <= shift <= timedelta(days=3650)
    assert objects[0].AcquisitionDateTime[8:] == "101112.5+0100"


@settings(max_examples=30, deadline=None)
@given(NAMES, IDS, st.lists(DATES, min_size=4, max_size=4))
def test_a_second_pass_keeps_what_the_first_kept(name: str, patient_id: str, days: list[date]) -> None:
    """It gives new pseudonyms and moves dates once more; it takes nothing away, and adds nothing."""
    once = through(object_of(name, patient_id, days), ONE)[1]
    twice = through(once, ONE)[1]
    assert list(twice.keys()) == list(once.keys())
    moved = {"PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SourceImageSequence"}
    moved |= {"StudyDate", "SeriesDate", "AcquisitionDateTime"}
    for element in once:
        assert element.keyword in moved or twice[element.tag].value == element.value
    before, after = dates_of(once), dates_of(twice)
    assert {earlier - before[0] for earlier in before} == {earlier - after[0] for earlier in after}


@pytest.mark.parametrize(
    ("who", "syntax"),
    [("latin", ExplicitVRLittleEndian), ("japanese", ImplicitVRLittleEndian)],
    ids=["latin", "japanese"],
)
def test_nobody_survives_in_any_element(who: str, syntax: UID) -> None:
    person = PEOPLE[who]
    writer = Writer(person, syntax)
    clean, syntax_now = cleaned(writer.everything(1), syntax)
    assert writer.planted > 30_000
    assert not list(found(person.needles(), b"".join(dicom_object.pieces(clean, memoryview(b""), syntax_now))))


def test_what_can_be_left_of_a_stranger_is_what_the_list_says(new_object: Callable[..., Dataset]) -> None:
    """Of a person whom the object does not name in its place, only codes, and text that is listed, can stay."""
    header = new_object()
    for number, (vr, *_) in DicomDictionary.items():
        tag = Tag(number)
        if vr in TEXT and tag.group >= 8 and tag not in header and tag not in PERSONAL | PLACES:
            header[tag] = RawDataElement(tag, vr, 8, b"STRANGER", 0, False, True)
    deidentify(header, ONE, "AAAABBBBCCCCDDDD")
    left = {tag for tag in header.keys() if "STRANGER" in str(header.get_item(tag).value)}  # noqa: SIM118
    numbers = {Tag(keyword) for keyword in ("StackID", "OpticalPathIdentifier", "ReferencedOpticalPathIdentifier")}
    text = {tag for tag in left if standard_vrs(tag) != {"CS"}}
    assert text == set(KEPT_TEXT) - numbers - {Tag("CodingSchemeDesignator")}
    assert left - text, "a code of sixteen capitals is a code"
    assert left.isdisjoint({Tag("ContentLabel"), Tag("GraphicLayer"), Tag("TissueLocation")}), "but no label is"


def cleaned(content: bytes, syntax: UID) -> tuple[Dataset, UID]:
    parsed = dicom_object.split(content, syntax, 64 * MIB)
    names = Subject.of(parsed.header).pseudonymous(ONE)
    deidentify(parsed.header, ONE, names.patient)
    parsed.header.StudyInstanceUID, parsed.header.SeriesInstanceUID = names.study, names.series
    parsed.header.SOPInstanceUID = names.sop_instance
    return parsed.header, parsed.transfer_syntax


@pytest.mark.parametrize(
    ("age", "kept"), [("089Y", "089Y"), ("090Y", "090Y"), ("091Y", "090Y"), ("120Y", "090Y"), ("999D", "999D")]
)
def test_ages_above_89_are_one_group(age: str, kept: str, new_object: Callable[..., Dataset]) -> None:
    header = new_object(PatientAge=age)
    deidentify(header, ONE, "AAAABBBBCCCCDDDD")
    assert header.PatientAge == kept
