"""Subgroups from a DICOM header."""

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from training.evaluation.header import age_band, attributes, text

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("000D", "under 1"),
        ("011M", "under 1"),
        ("051W", "under 1"),
        ("012M", "1 to 5"),
        ("005Y", "1 to 5"),
        ("006Y", "6 to 17"),
        ("018Y", "18 to 39"),
        ("064Y", "40 to 64"),
        (" 079y", "65 to 79"),
        ("080Y", "80 and over"),
        ("104Y", "80 and over"),
        ("64", None),
        ("", None),
        (None, None),
    ],
)
def test_bands(age: str | None, band: str | None) -> None:
    assert age_band(age) == band


def test_what_is_not_known_is_absent() -> None:
    header = Dataset()
    header.PatientSex, header.PatientAge, header.Manufacturer = "", "64", " "
    assert attributes(header) == {}


def test_a_maker_is_cut_and_a_sex_is_a_word() -> None:
    header = Dataset()
    header.PatientSex, header.Manufacturer = "m", "A" * 60
    assert attributes(header) == {"sex": "male", "device": "A" * 40}


def test_a_value_that_cannot_be_parsed_is_absent() -> None:
    header = Dataset()
    header[Tag("PatientAge")] = RawDataElement(Tag("PatientAge"), "ZZ", 4, b"064Y", 0, False, True)
    assert text(header, "PatientAge") is None
