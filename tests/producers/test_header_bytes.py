import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from producers import dicom_object
from producers.header_bytes import as_bytes, sequence_element, text_element, written
from producers.pixel_data import Encoding
from radiolog.settings import MIB

EXPLICIT, IMPLICIT, BIG = map(Encoding.of, (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian))

SYNTAXES = {EXPLICIT: ExplicitVRLittleEndian, IMPLICIT: ImplicitVRLittleEndian, BIG: ExplicitVRBigEndian}


def _sample() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.PatientName = "Żółw^Ewa"
    dataset.Rows, dataset.WindowCenter, dataset.PixelSpacing = 512, [40, 80.5], ["0.2", "0.2"]
    item = Dataset()
    item.PatientName = "Żółw^Jan"
    item.SourceImageSequence = Sequence([Dataset(), Dataset()])
    dataset.ReferencedStudySequence = Sequence([item])
    dataset.ReferencedSeriesSequence = Sequence()
    return dataset


def _by_pydicom(dataset: Dataset, encoding: Encoding) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = encoding.implicit_vr, encoding.little_endian
    write_dataset(file, dataset)
    return file.getvalue()


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT, BIG])
def test_the_bytes_are_those_that_pydicom_writes(encoding: Encoding) -> None:
    assert written(_sample(), encoding) == _by_pydicom(_sample(), encoding)


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT, BIG])
def test_what_nobody_parsed_goes_out_as_it_came(encoding: Encoding) -> None:
    content = _by_pydicom(_sample(), encoding).replace(b"40.0\\80.5", b"4E1 \\80.5")
    parsed = dicom_object.split(content, SYNTAXES[encoding], MIB)
    assert b"4E1" in content
    assert written(parsed.header, encoding) == content


@pytest.mark.parametrize("encoding", [IMPLICIT, BIG])
def test_an_element_of_another_encoding_is_written_anew(encoding: Encoding) -> None:
    dataset = dicom_object.split(_by_pydicom(_sample(), EXPLICIT), ExplicitVRLittleEndian, MIB).header
    assert written(dataset, encoding) == _by_pydicom(_sample(), encoding)


def test_a_value_too_long_for_its_representation_is_declared_unknown() -> None:
    dataset = Dataset()
    dataset[Tag("SOPInstanceUID")] = text_element(Tag("SOPInstanceUID"), "UI", "1.2.3\\" * 20_000, EXPLICIT)
    content = written(dataset, EXPLICIT)
    assert content[4:6] == b"UN"
    assert len(content) == 12 + 120_000


def test_group_lengths_are_not_written() -> None:
    dataset = Dataset({Tag(0x00080000): RawDataElement(Tag(0x00080000), "UL", 4, b"\x99\0\0\0", 0, False, True)})
    assert written(dataset, EXPLICIT) == b""


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT, BIG])
def test_elements_made_here_are_read_as_they_were_meant(encoding: Encoding) -> None:
    item = Dataset()
    item.CodeValue = "113100"
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset[Tag("StudyDate")] = text_element(Tag("StudyDate"), "DA", "20240501\\20240502", encoding)
    dataset[Tag("StudyInstanceUID")] = text_element(Tag("StudyInstanceUID"), "UI", "1.2", encoding)
    tag = Tag("DeidentificationMethodCodeSequence")
    dataset[tag] = sequence_element(tag, [item], encoding)
    content = written(dataset, encoding)
    assert len(content) % 2 == 0
    header = dicom_object.split(content, SYNTAXES[encoding], MIB).header
    assert header.StudyDate == ["20240501", "20240502"]
    assert header.StudyInstanceUID == "1.2"
    assert header.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_text_is_of_the_default_repertoire() -> None:
    with pytest.raises(UnicodeEncodeError):
        text_element(Tag("StudyDate"), "DA", "２０２４０５０１", EXPLICIT)
    assert as_bytes(text_element(Tag("Modality"), "CS", "CR1", IMPLICIT)) == b"\x08\0\x60\0\x04\0\0\0CR1 "
