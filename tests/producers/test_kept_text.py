"""Codes and text that stay, whose names they may not repeat, and what goes as a whole."""

from collections.abc import Callable

import pytest
from pydicom import DataElement, Dataset
from pydicom.uid import BasicVoiceAudioWaveformStorage, TwelveLeadECGWaveformStorage

from producers.deidentify import deidentify
from producers.identifiers import Identifiers
from producers.pseudonyms import Pseudonyms

PATIENT = "AAAABBBBCCCCDDDD"


@pytest.fixture
def clean(pseudonyms: Pseudonyms) -> Callable[[Dataset], Dataset]:
    def work(header: Dataset) -> Dataset:
        deidentify(header, pseudonyms, PATIENT)
        return header

    return work


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


@pytest.mark.parametrize(
    ("value", "scheme", "meaning"),
    [
        ("39607008", "SCT", "Lung"),
        ("T-28000", "SRT", "Lung"),
        ("mm", "UCUM", "mm"),
        ("121320", "DCM", "Uncompressed predecessor"),
    ],
)
def test_a_code_of_the_standard_stays_with_the_standards_meaning(
    value: str,
    scheme: str,
    meaning: str | None,
    new_object: Callable[..., Dataset],
    clean: Callable[[Dataset], Dataset],
) -> None:
    header = clean(new_object(AnatomicRegionSequence=[code(value, scheme, "chest of Mr Stranger")]))
    (item,) = header.AnatomicRegionSequence
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == (value, scheme, meaning)


@pytest.mark.parametrize(("value", "scheme"), [("WARD17", "99ELSEWHERE"), ("STRANGER", "SCT"), ("", "DCM")])
def test_a_code_of_a_site_goes_with_its_sequence(
    value: str, scheme: str, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    other = code("51185008", "SCT", "Chest")
    assert "ViewCodeSequence" not in clean(new_object(ViewCodeSequence=[code(value, scheme, "x")]))
    assert len(clean(new_object(ViewCodeSequence=[code(value, scheme, "x"), other])).ViewCodeSequence) == 1


def test_a_code_without_value_is_no_code(
    new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    long = Dataset()
    long.LongCodeValue, long.CodingSchemeDesignator = "of Stranger", "SCT"
    assert "ViewCodeSequence" not in clean(new_object(ViewCodeSequence=[long]))


def test_overlays_go_as_a_whole(new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]) -> None:
    header = new_object()
    for tag, vr, value in (
        (0x60000010, "US", 4),
        (0x60000022, "LO", "of Stranger"),
        (0x60003000, "OW", bytes(2)),
        (0x601E1500, "LO", "Stranger"),
    ):
        header.add(DataElement(tag, vr, value))
    assert not [element for element in clean(header) if element.tag.group & 0xFF00 == 0x6000]


def test_pixels_of_an_item_go(new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]) -> None:
    item = Dataset()
    item.Rows, item.PixelData = 1, b"Stranger"
    item["PixelData"].VR = "OW"
    (left,) = clean(new_object(SourceImageSequence=[item])).SourceImageSequence
    assert "PixelData" not in left


@pytest.mark.parametrize(
    ("sop_class", "stays"), [(TwelveLeadECGWaveformStorage, True), (BasicVoiceAudioWaveformStorage, False)]
)
def test_a_curve_of_the_heart_stays_and_a_dictation_goes(
    sop_class: str, stays: bool, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    item = Dataset()
    item.WaveformBitsAllocated, item.WaveformData = 16, bytes(8)
    item["WaveformData"].VR = "OW"
    header = clean(new_object(SOPClassUID=sop_class, WaveformSequence=[item]))
    assert ("WaveformSequence" in header) is stays


def test_a_name_of_two_ideographs_is_found_in_bytes_and_text(new_object: Callable[..., Dataset]) -> None:
    nested = Dataset()
    nested.PatientName = "Yamada^Tarou=山田^太郎"
    found = Identifiers.of(new_object(PatientName="", ReferencedStudySequence=[nested]))
    for encoding in ("utf-8", "utf-16-le", "shift_jis", "euc_jp", "gb18030"):
        assert found.are_in_bytes(b"\0\0" + "太郎".encode(encoding) + b"\0\0")
    assert found.are_in_text("CT of 山田")
    assert found.are_in_text("YAMADA-2")
    assert not found.are_in_text("CT 5")
    assert found.are_code("TAROU")


@pytest.mark.parametrize("name", ["Ho^Li", "Doe^J^^MR", "Doe^J^^^PHD"])
def test_titles_and_initials_take_no_code_away(
    name: str, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    header = clean(new_object(PatientName=name, Modality="MR", ViewPosition="LL", Manufacturer="PHD MR LI"))
    assert (header.Modality, header.ViewPosition) == ("MR", "LL")
    assert header.Manufacturer == "PHD MR LI"


@pytest.mark.parametrize("modality", ["SEG", "REG"])
def test_a_modality_is_one_whoever_is_called_so(
    modality: str, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    header = clean(new_object(PatientName=f"{modality}^Jane", Modality=modality, BodyPartExamined=modality))
    assert header.Modality == modality
    assert "BodyPartExamined" not in header


@pytest.mark.parametrize("number", ["778899", "+778899", "000778899", "778899.0", "778899.00"])
def test_an_id_is_found_however_a_number_is_written(
    number: str, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    assert "SliceLocation" not in clean(new_object(PatientID="0778899", SliceLocation=number))
    assert "SliceLocation" in clean(new_object(PatientID="0778899", SliceLocation="778898.5"))


@pytest.mark.parametrize("time", ["778899", "121314.778899", "7788"])
def test_an_id_is_no_time(time: str, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]) -> None:
    assert not clean(new_object(PatientID="778899", StudyTime=time)).StudyTime
    header = clean(new_object(PatientID="778899", AcquisitionDateTime="20240101121314.778899"))
    assert not header.AcquisitionDateTime


@pytest.mark.parametrize("nobody", ["0", "000000", "0000000000", "1", ""])
def test_an_id_that_is_none_takes_nothing_away(
    nobody: str, new_object: Callable[..., Dataset], clean: Callable[[Dataset], Dataset]
) -> None:
    header = new_object(PatientID=nobody, StudyID="120000", StudyTime="120000.000000", SliceLocation="0.000000")
    header.RescaleIntercept, header.ContentDate = "0", "20240101"
    clean(header)
    assert (header.StudyTime, str(header.SliceLocation), header.RescaleIntercept) == ("120000.000000", "0.000000", 0)
    assert header.ContentDate
