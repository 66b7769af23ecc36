"""The objects that a simulated fleet sends: pictures as CR and DX objects of made-up patients, DICOM files as they are.

The same archive, seed and number make the same bytes.
"""

import random
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Final, cast
from uuid import UUID, uuid5

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from producers import dicom_object, part10
from producers.errors import Refused
from producers.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from producers.simulator_archive import Archive, SourceError
from producers.simulator_plan import Kind, Shot

Raster = NDArray[np.unsignedinteger[Any]]

MODALITIES: Final = ("CR", "DX")
_ROOT: Final = UUID("5a0d4a0e-6f58-4d0a-8a39-3c0d1f3f7f6b")
_FIRST_DAY: Final = datetime(2024, 1, 1, 7, tzinfo=UTC)
_FAMILIES: Final = ("Birch", "Cedar", "Elm", "Hazel", "Juniper", "Larch", "Maple", "Rowan", "Spruce", "Willow")
_GIVEN: Final = ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gail", "Hal", "Iris", "Jo")
MAX_BYTES: Final = 1 << 30
_PIXEL_HEAD_BYTES: Final = 12
_NOISE_BYTES: Final = 64 * 1024
_OVERLONG: Final = b"\xfe\xff", b"\xfe\xff\xff\x7f"


class Objects:
    """Makes the bytes of each shot, as a DICOM file (PS3.10 section 7)."""

    def __init__(self, archive: Archive, seed: int) -> None:
        self._archive = archive
        self._seed = seed

    def content(self, shot: Shot) -> bytes:
        """The file that a device sends.

        Raises:
            SourceError: the archive's image cannot be read.
        """
        whole = self._whole(shot.source, MODALITIES[shot.device % len(MODALITIES)])
        return _flawed(whole, shot.kind, random.Random(f"{self._seed}/{shot.number}"))  # noqa: S311 - no secret

    def _whole(self, number: int, modality: str) -> bytes:
        turn, index = divmod(number, len(self._archive))
        content = self._archive.read(index)
        if self._archive.is_picture(index):
            return _written(self._radiograph(number, modality, self._decoded(index, content)))
        # As it stands, the first time; in later rounds it is an image of its own.
        return content if turn == 0 else self._renewed(content, number)

    def _decoded(self, index: int, content: bytes) -> Raster:
        encoded = np.frombuffer(content, np.uint8)
        raster = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH) if encoded.size else None
        if raster is None or raster.dtype not in (np.uint8, np.uint16):
            raise SourceError(f"{self._archive.name(index)} is not the picture that its name promises")
        return cast(Raster, raster)

    def _uid(self, what: str, number: int) -> str:
        """A UID of PS3.5 section B.2, the same for the same seed."""
        return f"2.25.{uuid5(_ROOT, f'{self._seed}/{what}/{number}').int}"

    def _radiograph(self, number: int, modality: str, raster: Raster) -> Dataset:
        """A chest radiograph of a patient of its own (PS3.3 sections A.2 and A.26)."""
        header = self._examination(number)
        header.SOPClassUID = (
            ComputedRadiographyImageStorage if modality == "CR" else DigitalXRayImageStorageForPresentation
        )
        header.Modality = modality
        header.BodyPartExamined, header.ViewPosition = "CHEST", "PA"
        if modality == "DX":
            _add_dx(header)
        bits = 8 * raster.dtype.itemsize
        header.Rows, header.Columns = raster.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = bits
        header.HighBit, header.PixelRepresentation = bits - 1, 0
        pixels = raster.astype(raster.dtype.newbyteorder("<")).tobytes()
        header.add_new("PixelData", "OB" if bits == 8 else "OW", pixels + bytes(len(pixels) % 2))
        return header

    def _examination(self, number: int) -> Dataset:
        draw, at = random.Random(f"{self._seed}/patient/{number}"), _FIRST_DAY + timedelta(minutes=number)  # noqa: S311
        header = Dataset()
        header.SOPInstanceUID = self._uid("instance", number)
        header.StudyInstanceUID, header.SeriesInstanceUID = self._uid("study", number), self._uid("series", number)
        header.PatientName = f"{draw.choice(_FAMILIES)}^{draw.choice(_GIVEN)}"
        header.PatientID = f"SIM{self._seed}-{number}"
        header.PatientBirthDate = f"{draw.randrange(1930, 2020)}{draw.randrange(1, 13):02}{draw.randrange(1, 29):02}"
        header.PatientSex = draw.choice("FM")
        header.StudyID, header.AccessionNumber = str(number), f"A{number}"
        header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = f"{at:%Y%m%d}"
        header.StudyTime = header.SeriesTime = header.AcquisitionTime = header.ContentTime = f"{at:%H%M%S}"
        header.ReferringPhysicianName = "Oak^Kim"
        header.Manufacturer, header.ManufacturerModelName = "radiolog", "simulator"
        header.SeriesNumber = header.InstanceNumber = 1
        header.PatientOrientation = ["L", "F"]
        return header

    def _renewed(self, content: bytes, number: int) -> bytes:
        """The same image under UIDs of its own; an object that cannot be parsed stays as it is."""
        try:
            file = part10.parse(content)
            found = dicom_object.split(file.dataset, file.transfer_syntax, MAX_BYTES)
            header = found.header
            header.SOPClassUID = header.get("SOPClassUID") or file.sop_class
            header.SOPInstanceUID = self._uid("instance", number)
            header.StudyInstanceUID, header.SeriesInstanceUID = self._uid("study", number), self._uid("series", number)
            return b"".join(dicom_object.pieces(header, found.pixels, found.transfer_syntax))
        except (Refused, ValueError, TypeError):
            return content


def _add_dx(header: Dataset) -> None:
    """What a Digital X-Ray Image must say more than a CR (PS3.3 sections C.8.11.1 to C.8.11.4)."""
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "43799004", "SCT", "Thorax"
    header.AnatomicRegionSequence = [region]
    header.PresentationIntentType = "FOR PRESENTATION"
    header.ImageType = ["ORIGINAL", "PRIMARY", ""]
    header.ImageLaterality = "U"
    header.DetectorType = "DIRECT"
    header.ImagerPixelSpacing = [1.4, 1.4]
    header.PixelIntensityRelationship, header.PixelIntensityRelationshipSign = "LOG", -1
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = 0, 1, "US"
    header.PresentationLUTShape, header.LossyImageCompression, header.BurnedInAnnotation = "IDENTITY", "00", "NO"


def _written(header: Dataset) -> bytes:
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    header.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    file = BytesIO()
    dcmwrite(file, header, enforce_file_format=True)
    return file.getvalue()


def _flawed(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    if kind is Kind.NOISE:
        return draw.randbytes(min(len(content), _NOISE_BYTES))
    if kind not in (Kind.TRUNCATED, Kind.WRONG_LENGTH):
        return content
    if kind is Kind.TRUNCATED:
        return content[: len(content) - draw.randint(1, _last_value_bytes(content))]
    start = len(content) - _dataset_bytes(content)
    explicit = content[start + 4 : start + 6].isalpha()
    at, length = (start + 6, _OVERLONG[0]) if explicit else (start + 4, _OVERLONG[1])
    return content[:at] + length + content[at + len(length) :]


def _dataset_bytes(content: bytes) -> int:
    try:
        return len(part10.parse(content).dataset)
    except Refused:
        return len(content)


def _last_value_bytes(content: bytes) -> int:
    """How much can be cut off for certain without the rest being a smaller, but whole object; at least 1."""
    try:
        file = part10.parse(content)
        pixels = dicom_object.split(file.dataset, file.transfer_syntax, MAX_BYTES).pixels
    except Refused:
        return max(1, len(content) // 2)
    return max(1, len(pixels) - _PIXEL_HEAD_BYTES)
