"""Images of a labelled data set as DICOM objects: Secondary Capture (PS3.3 section A.8), and no more than is known.

The same image of the same data set gives the same bytes, and so the same event: UIDs follow from content, and no clock
is read. What all objects of a data set have in common is made once.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from producers import part10, photograph
from producers.errors import BrokenObject
from producers.header_bytes import written
from producers.intake import ReceivedObject
from producers.kept_values import is_code
from producers.pixel_data import Encoding
from producers.raster import Raster, check_size
from producers.values import has_control_characters
from schemas.events import ImageSource, SourceKind

ADAPTER: Final = "data import"
LO_CHARACTERS: Final = 64
#: Type 2 of the modules Patient, General Study, General Series and General Image: nothing is known of them.
_UNKNOWN: Final = (
    *("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID"),
    *("AccessionNumber", "PatientOrientation"),
)


@dataclass(frozen=True, slots=True, eq=False)
class DatasetImage:
    """One image of a data set.

    Attributes:
        name: that no other image of the data set has.
        patient: as the data set numbers them.
        content: a file (JPEG, PNG, TIFF, or DICOM Part 10), or a raster `[h, w]` or `[h, w, 3]` in RGB.
    """

    name: str
    patient: str
    content: bytes | NDArray[np.uint8]


class DatasetObjects:
    """Makes the objects of one data set.

    Args:
        dataset: its name: patients of another one, however numbered, are others.
        modality: Modality (0008,0060) of pictures; DICOM files have their own.
        body_part: Body Part Examined (0018,0015) of pictures.

    Raises:
        ValueError: modality or body part is no code string (PS3.5 section 6.2).
    """

    def __init__(self, dataset: str, modality: str, body_part: str) -> None:
        for value in (modality, body_part):
            if not is_code(value):
                raise ValueError(f"{value!r} is no code string: at most 16 of A-Z, 0-9, blank and underscore")
        self._dataset = dataset
        self._source = ImageSource(kind=SourceKind.DATASET, peer="", adapter=ADAPTER)
        self._common = _common(_text(dataset), modality, body_part)

    def received(self, image: DatasetImage) -> ReceivedObject:
        """The image as an object that has just come in.

        Raises:
            Refused: it is broken, too large, or nothing that can be wrapped.
        """
        if isinstance(image.content, bytes) and part10.has_preamble(image.content):
            file = part10.parse(image.content)
            if file.is_dicomdir or not file.dataset:
                raise BrokenObject("the file holds no data set")
            return ReceivedObject(file.dataset, file.transfer_syntax, self._source, datetime.now(UTC))
        return ReceivedObject(*self.wrapped(image), self._source, datetime.now(UTC))

    def wrapped(self, image: DatasetImage) -> tuple[bytes, str]:
        """A picture's data set in explicit VR little endian, and its transfer syntax; raises what `received` does."""
        header = Dataset()
        header.update(self._common)
        header.PatientID = _text(image.patient)
        header.StudyInstanceUID = photograph.uid("study", self._dataset, image.patient, image.name)
        header.SeriesInstanceUID = photograph.uid("series", self._dataset, image.patient, image.name, header.Modality)
        syntax = _set_content(header, image.content)
        content = hashlib.sha256(header.PixelData).hexdigest()
        header.SOPInstanceUID = photograph.uid("instance", str(header.SeriesInstanceUID), content)
        return written(header, Encoding.of(ExplicitVRLittleEndian)), syntax


def _set_content(header: Dataset, content: bytes | NDArray[Any]) -> str:
    if isinstance(content, bytes):
        return str(photograph.set_pixels(header, content))
    if content.dtype != np.uint8 or not (content.ndim == 2 or (content.ndim == 3 and content.shape[2] == 3)):
        raise BrokenObject(f"the raster is {content.dtype} {content.shape}: 8 bits, grey or RGB, are taken")
    check_size(content.shape[1], content.shape[0])
    photograph.set_raster(header, Raster(np.ascontiguousarray(content)), content.nbytes)
    return str(ExplicitVRLittleEndian)


def _common(dataset: str, modality: str, body_part: str) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.ImageType = ["DERIVED", "SECONDARY"]
    header.SOPClassUID = SecondaryCaptureImageStorage
    header.Modality, header.BodyPartExamined = modality, body_part
    header.ConversionType = "DI"
    header.IssuerOfPatientID = dataset
    header.SeriesNumber = header.InstanceNumber = 1
    for keyword in _UNKNOWN:
        setattr(header, keyword, None)
    return header


def _text(text: str) -> str:
    """A value of LO (PS3.5 section 6.2): the text itself, or where it is none, a token that stands for it."""
    fits = 0 < len(text) <= LO_CHARACTERS and "\\" not in text and not has_control_characters(text)
    return text if fits and text == text.strip() else hashlib.sha256(text.encode()).hexdigest()[:32]
