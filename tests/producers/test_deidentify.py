import struct
from collections.abc import Callable
from io import BytesIO

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from producers import dicom_object, part10
from producers.dates import shifted
from producers.deidentify import deidentify
from producers.profile import Action, action_for
from producers.pseudonyms import Pseudonyms
from radiolog.settings import MIB

PATIENT = "AAAABBBBCCCCDDDD"

#: Planted everywhere below; none of them may be left.
SECRETS = [
    "Kowalska^Ewa",
    "Kowalska",
    "MRN-90210",
    "ACC-778899",
    "Elm Street 12, Springfield",
    "+1 555 0199",
    "St. Elsewhere Hospital",
    "Dr. Quincy",
    "19610417",
    "SN-00012345",
    "1.2.826.0.1.99.1.77",
]


def _planted(new_object: Callable[..., Dataset]) -> Dataset:
    dataset = new_object(
        PatientName="Kowalska^Ewa",
        PatientID="MRN-90210",
        OtherPatientIDs=["MRN-90210", "OLD-90210"],
        PatientBirthDate="19610417",
        PatientBirthTime="19610417"[:6],
        PatientAddress="Elm Street 12, Springfield",
        PatientTelephoneNumbers="+1 555 0199",
        AccessionNumber="ACC-778899",
        StudyID="ACC-778899",
        InstitutionName="St. Elsewhere Hospital",
        ReferringPhysicianName="Dr. Quincy",
        DeviceSerialNumber="SN-00012345",
        StudyInstanceUID="1.2.826.0.1.99.1.77",
        FrameOfReferenceUID="1.2.826.0.1.99.1.77.3",
        PositionReferenceIndicator="scout of Kowalska",
        ImageComments="ask Dr. Quincy about Kowalska",
        TextValue="Kowalska has an unlisted element",
        SelectorDAValue="19610417",
        PatientAge="062Y",
        PatientSex="F",
    )
    dataset.ReferencedStudySequence = Sequence([_item(ReferencedSOPInstanceUID="1.2.826.0.1.99.1.77")])
    dataset.RequestAttributesSequence = Sequence(
        [_item(RequestedProcedureID="ACC-778899", AccessionNumber="ACC-778899")]
    )
    dataset.ContentSequence = Sequence([_item(TextValue="Kowalska is well", PersonName="Kowalska^Ewa")])
    deep = _item(CodeMeaning="view of MRN-90210", PatientID="MRN-90210", PersonName="Kowalska^Ewa")
    deep.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "Kowalska^Ewa")
    dataset.AnatomicRegionSequence = Sequence([_item(AnatomicRegionModifierSequence=Sequence([deep]))])
    block = dataset.private_block(0x0009, "ACME HEADER", create=True)
    block.add_new(1, "PN", "Kowalska^Ewa")
    block.add_new(2, "SQ", Sequence([_item(PatientName="Kowalska^Ewa", AccessionNumber="ACC-778899")]))
    dataset.add(DataElement(0x60003000, "OW", b"Kowalska"))
    dataset.add(DataElement(0x60004000, "LT", "Kowalska"))
    dataset.add(DataElement(0x50001000, "SH", "Kowalska"))
    dataset.add(DataElement(0x00081303, "UN", b"Kowalska"))  # no element of the standard
    dataset.add(DataElement(0x00181151, "LT", "Kowalska"))  # an integer, declared as text
    return dataset


def _item(**elements: object) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _through(content: bytes, pseudonyms: Pseudonyms) -> tuple[bytes, Dataset]:
    """A file de-identified, as bytes and parsed."""
    file = part10.parse(content)
    parsed = dicom_object.split(file.dataset, file.transfer_syntax, MIB)
    deidentify(parsed.header, pseudonyms, PATIENT)
    payload = b"".join(dicom_object.pieces(parsed.header, parsed.pixels, parsed.transfer_syntax))
    return payload, dcmread(BytesIO(payload))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_no_planted_identifier_is_left(
    syntax: UID, new_object: Callable[..., Dataset], written: Callable[..., bytes], pseudonyms: Pseudonyms
) -> None:
    content = written(_planted(new_object), syntax)
    for secret in SECRETS:
        assert secret.encode() in content
    payload, _ = _through(content, pseudonyms)
    for secret in SECRETS:
        assert secret.encode() not in payload


def test_the_object_stays_whole(
    new_object: Callable[..., Dataset], written: Callable[..., bytes], pseudonyms: Pseudonyms
) -> None:
    _, clean = _through(written(_planted(new_object)), pseudonyms)
    assert clean.pixel_array.shape == (4, 4)
    assert clean.Modality == "CR"
    assert clean.PatientID == PATIENT
    assert (clean.PatientAge, clean.PatientSex) == ("062Y", "F")
    assert clean.AccessionNumber == clean.PatientName == clean.PatientBirthDate == ""
    assert "ContentSequence" not in clean


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientSex", "SMITH"), ("PatientAge", "JANE"), ("StudyTime", "DOE JANE"), ("PregnancyStatus", None)],
)
def test_a_characteristic_or_time_is_kept_only_if_it_is_one(
    keyword: str, value: str, new_object: Callable[..., Dataset], pseudonyms: Pseudonyms
) -> None:
    header = new_object(**{keyword: value})
    deidentify(header, pseudonyms, PATIENT)
    assert not header[keyword].value


def test_dates_move_together_and_times_stay(new_object: Callable[..., Dataset], pseudonyms: Pseudonyms) -> None:
    header = new_object(
        StudyDate="20240110", SeriesDate="20240111", StudyTime="1201", AcquisitionDateTime="20240112120000"
    )
    deidentify(header, pseudonyms, PATIENT)
    dates = [header.StudyDate, header.SeriesDate, header.AcquisitionDateTime[:8]]
    days = {int(date[6:]) for date in dates}
    assert "20240110" not in dates
    assert len(days) == 3
    assert header.StudyTime == "1201"


def test_uids_agree_across_objects_and_levels(new_object: Callable[..., Dataset], pseudonyms: Pseudonyms) -> None:
    study = generate_uid()
    one = new_object(StudyInstanceUID=study)
    other = new_object(StudyInstanceUID=study, PatientID="someone else")
    other.SourceImageSequence = Sequence([_item(ReferencedSOPInstanceUID=one.SOPInstanceUID)])
    for header in (one, other):
        deidentify(header, pseudonyms, PATIENT)
    assert one.StudyInstanceUID == other.StudyInstanceUID == pseudonyms.uid(study)
    assert other.SourceImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID


def test_what_names_a_class_or_a_standard_stays(new_object: Callable[..., Dataset], pseudonyms: Pseudonyms) -> None:
    private_class = "1.3.12.2.1107.5.9.1"
    header = new_object(SOPClassUID=private_class, FrameOfReferenceUID="1.2.840.10008.1.4.1.1")
    deidentify(header, pseudonyms, PATIENT)
    assert header.SOPClassUID == private_class
    assert header.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"


def test_each_of_several_values_is_replaced(new_object: Callable[..., Dataset], pseudonyms: Pseudonyms) -> None:
    header = new_object(IrradiationEventUID=["1.2.3", "1.2.4"])
    deidentify(header, pseudonyms, PATIENT)
    assert list(header.IrradiationEventUID) == [pseudonyms.uid("1.2.3"), pseudonyms.uid("1.2.4")]


@pytest.mark.parametrize("declared", ["OW", "UN", "OB", "SQ", "FD", "AT"])
def test_a_value_representation_that_cannot_be_never_crashes(
    declared: str, new_object: Callable[..., Dataset], written: Callable[..., bytes], pseudonyms: Pseudonyms
) -> None:
    """Names in elements declared as something else, as raw bytes of an explicit VR data set."""
    marker, secret = "XXXXXXXX", b"KOWALSKA"
    content = written(new_object(PatientName=marker, StudyDescription=marker, InstitutionName=marker))
    length = {"OW": 4, "UN": 4, "OB": 4, "SQ": 4}.get(declared, 2)
    for vr in (b"PN", b"LO"):
        head = declared.encode() + (b"\0\0" if length == 4 else b"") + len(secret).to_bytes(length, "little")
        content = content.replace(vr + b"\x08\x00" + marker.encode(), head + secret)
    payload, clean = _through(content, pseudonyms)
    assert content.count(secret) == 3
    assert secret not in payload
    assert clean.pixel_array.shape == (4, 4)


#: As a name is written, as it fits a code, and as it fits a number.
PLANTED = ("Smithson^Jane", "SMITHSON JANE", "77889955")


def test_what_is_declared_unknown_is_taken_for_what_the_standard_says(
    new_object: Callable[..., Dataset], written: Callable[..., bytes], pseudonyms: Pseudonyms
) -> None:
    content = written(new_object(Modality="CR", StudyDate="20240501", Rows=512, StationName="Kowalska"))
    for vr in (b"CS\2\0CR", b"DA\x08\x0020240501", b"US\2\0\0\2", b"SH\x08\0Kowalska"):
        tag = content[content.index(vr) - 4 : content.index(vr)]
        length, value = vr[2:4] + b"\0\0", vr[4:]
        content = content.replace(tag + vr, tag + b"UN\0\0" + length + value)
    payload, clean = _through(content, pseudonyms)
    assert (clean.Modality, clean.Rows) == ("CR", 512)
    assert clean.StudyDate == shifted("20240501", pseudonyms.shift_days(PATIENT))
    assert b"Kowalska" not in payload


TEXT_VRS = ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UN", "UR", "UT")
LONG_VRS = {"UC", "UN", "UR", "UT"}


def _everywhere(planted: str, vr: str | None) -> bytes:
    """A data set with `planted` in each element of the standard, all declared as `vr` (None: in implicit VR)."""
    uids = {0x00080018: b"1.2.3.4\0", 0x0020000D: b"1.2.3.50", 0x0020000E: b"1.2.3.60"}
    person = {0x00100010: b"Smithson^Jane ", 0x00100020: b"77889955"}
    given = {0x00080016: b"1.2.840.10008.5.1.4.1.1.1\0"} | uids | person
    value = planted.encode() + b" " * (len(planted) % 2)
    tags = {tag for tag in DicomDictionary if 8 <= tag >> 16 < 0x7FE0} - {0x00080005}
    written = []
    for tag in sorted(tags | given.keys()):
        own = {0x00100010: "PN", 0x00100020: "LO"}.get(tag, "UI") if tag in given else vr
        content = given.get(tag, value)
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if vr is None or own is None:
            head += struct.pack("<L", len(content))
        else:
            long = own in LONG_VRS
            head += own.encode() + struct.pack("<HL" if long else "<H", *([0] if long else []), len(content))
        written.append(head + content)
    return b"".join(written)


@pytest.mark.parametrize("declared", [*TEXT_VRS, None])
@pytest.mark.parametrize("planted", PLANTED)
def test_no_element_keeps_an_identifier_whatever_it_is_declared_as(
    planted: str, declared: str | None, pseudonyms: Pseudonyms
) -> None:
    syntax = ExplicitVRLittleEndian if declared else ImplicitVRLittleEndian
    parsed = dicom_object.split(_everywhere(planted, declared), syntax, MIB)
    deidentify(parsed.header, pseudonyms, PATIENT)
    left = [tag for tag in parsed.header.keys() if planted.encode() in _bytes_of(parsed.header, tag)]  # noqa: SIM118
    assert left == []
    assert planted.encode() not in b"".join(dicom_object.pieces(parsed.header, parsed.pixels, parsed.transfer_syntax))


def _bytes_of(header: Dataset, tag: BaseTag) -> bytes:
    value = header.get_item(tag).value
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize(
    ("vr", "keyword", "value", "stays"),
    [
        ("CS", "BodyPartExamined", b"CHEST ", True),
        ("CS", "BodyPartExamined", b"chest ", False),
        ("CS", "BodyPartExamined", b"DOE ", False),
        ("CS", "BodyPartExamined", b"DO", True),
        ("CS", "BodyPartExamined", b"JANE", False),
        ("CS", "BodyPartExamined", b"JANE_DOE", False),
        ("CS", "PhotometricInterpretation", b"YBR_JANE", True),
        ("CS", "ImageType", b"ORIGINAL\\PRIMARY\\JANE", False),
        ("CS", "SpecificCharacterSet", b"ISO_IR 100", True),
        ("CS", "SpecificCharacterSet", b"JOE ", False),
        ("US", "Rows", b"\x04\0", True),
        ("LO", "Rows", b"four", False),
        ("US", "ManufacturerModelName", b"CT 5", False),
        ("LO", "ManufacturerModelName", b"CT of Jane", False),
        ("LO", "ManufacturerModelName", b"C\0T ", False),
        ("LO", "ManufacturerModelName", b"CT 5", True),
        ("AE", "RetrieveAETitle", b"JANE_PC ", False),
        ("DS", "PixelSpacing", b"0.1\\0.12", True),
        ("DS", "PixelSpacing", b"0.1\\4711-12", False),
        ("UI", "ReferencedSOPClassUID", b"1.3.12.2.1107.5", True),
        ("UI", "ReferencedSOPClassUID", b"MRN-4711", False),
        ("OB", "ICCProfile", b"\0\1\2\3", True),
        ("OB", "ICCProfile", b"by Jane\0", False),
    ],
)
def test_what_stays_is_what_its_tag_stands_for(
    vr: str, keyword: str, value: bytes, stays: bool, new_object: Callable[..., Dataset], pseudonyms: Pseudonyms
) -> None:
    header, tag = new_object(), Tag(keyword)
    header[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    deidentify(header, pseudonyms, PATIENT)
    assert (tag in header) is stays


@pytest.mark.parametrize(
    ("keyword", "action"),
    [
        ("PatientName", Action.EMPTY),
        ("PatientID", Action.DUMMY),
        ("PatientSex", Action.CHARACTERISTIC),
        ("EthnicGroup", Action.REMOVE),
        ("StudyDate", Action.DATE),
        ("PatientBirthDate", Action.EMPTY),
        ("StudyTime", Action.TIME),
        ("StudyInstanceUID", Action.UID),
        ("DeviceUID", Action.UID),
        ("SOPClassUID", Action.KEEP),
        ("ReferencedSOPClassUID", Action.KEEP),
        ("SourceImageSequence", Action.ITEMS),
        ("AnatomicRegionSequence", Action.ITEMS),
        ("EncryptedAttributesSequence", Action.REMOVE),
        ("RetrieveURL", Action.REMOVE),
        ("Rows", Action.KEEP),
        ("BurnedInAnnotation", Action.KEEP),
        ("TimezoneOffsetFromUTC", Action.REMOVE),
    ],
)
def test_the_profile(keyword: str, action: Action) -> None:
    assert action_for(Tag(keyword), None) is action


@pytest.mark.parametrize("tag", [0x00090010, 0x00091001, 0x00080000, 0x00020010, 0x00000002, 0x60123000, 0x50041234])
def test_private_command_meta_overlay_and_curve_elements_go(tag: int) -> None:
    assert action_for(Tag(tag), None) is Action.REMOVE
