from collections.abc import Callable

import pytest
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLPhotographicImageStorage,
)

from producers.burned_in import may_show_text


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({}, None),
        ({"BurnedInAnnotation": "YES"}, True),
        ({"BurnedInAnnotation": "NO"}, False),
        ({"BurnedInAnnotation": "no "}, False),
        ({"BurnedInAnnotation": "MAYBE"}, None),
        ({"SOPClassUID": UltrasoundImageStorage}, True),
        ({"SOPClassUID": UltrasoundMultiFrameImageStorage}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, True),
        ({"SOPClassUID": MultiFrameTrueColorSecondaryCaptureImageStorage}, True),
        ({"SOPClassUID": VLPhotographicImageStorage}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"}, False),
        ({"SOPClassUID": ComputedRadiographyImageStorage}, None),
        ({"SOPClassUID": CTImageStorage, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, True),
        ({"SOPClassUID": CTImageStorage, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, None),
        ({"ConversionType": "WSD"}, True),
        ({"ConversionType": "DI"}, None),
        ({"Modality": "US"}, True),
    ],
)
def test_what_the_header_says_or_its_kind(
    elements: dict[str, object], expected: bool | None, new_object: Callable[..., Dataset]
) -> None:
    assert may_show_text(new_object(**elements)) is expected


def test_an_overlay_in_the_pixels_is_text_whatever_is_said(new_object: Callable[..., Dataset]) -> None:
    header = new_object(BurnedInAnnotation="NO")
    header.add(DataElement(0x60020102, "US", 12))
    assert may_show_text(header) is True
    header.add(DataElement(0x60023000, "OW", bytes(2)))
    assert may_show_text(header) is False


def test_a_malformed_header_is_no_crash() -> None:
    header = Dataset()
    header[0x00280301] = RawDataElement(Tag(0x00280301), "CS", 2, b"\xff\xfe", 0, False, True)
    assert may_show_text(header) is None
