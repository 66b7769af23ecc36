"""Pictures of devices that make no DICOM, wrapped as DICOM objects, so that there is one kind of object on the log.

Modality XC becomes a VL Photographic Image, OP an Ophthalmic Photography 8 Bit Image, anything else a Secondary Capture
Image (PS3.3 sections A.32.4, A.41 and A.8). highdicom writes the modules that all have in common.

An upright JPEG of the baseline process is carried as it is, without its metadata. Anything else is decoded and stored
uncompressed. Nothing of the file but the picture is taken over; whose it is says the sidecar alone.

The same picture and sidecar give the same bytes, and so the same event: UIDs follow from content, and no clock is read.
"""

import hashlib
from datetime import date, datetime
from typing import Final

from highdicom import SOPClass
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    OphthalmicPhotography8BitImageStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

from producers import jpeg
from producers.errors import BrokenObject
from producers.header_bytes import written
from producers.pixel_data import Encoding
from producers.raster import Raster, check_size, decode, jpeg_orientation
from producers.sidecar import OPHTHALMIC, PHOTOGRAPH, REGIONS, Sidecar, parse_sidecar

_CLASSES: Final = {PHOTOGRAPH: VLPhotographicImageStorage, OPHTHALMIC: OphthalmicPhotography8BitImageStorage}
_JPEG_PROCESS: Final = "ISO_10918_1"
#: Frame Time Vector; Frame Increment Pointer (0028,0009) has to name one, also of a single frame.
_FRAME_TIME_VECTOR: Final = 0x00181065
_UUID_MASK, _UUID_BITS = (0xF << 76) | (0x3 << 62), (8 << 76) | (2 << 62)


def wrap(content: bytes, sidecar: bytes) -> tuple[bytes, str]:
    """The picture in `content` as a data set, and its transfer syntax.

    Raises:
        Refused: the picture or the sidecar is broken, too large, or nothing that can be wrapped.
    """
    told = parse_sidecar(sidecar)
    digest = hashlib.sha256(content).hexdigest()
    dataset = Photograph(told, digest)
    syntax = set_pixels(dataset, content)
    return written(dataset, Encoding.of(ExplicitVRLittleEndian)), syntax


class Photograph(SOPClass):
    """The header of a picture: all modules that its SOP class demands, but for those of the pixels."""

    def __init__(self, sidecar: Sidecar, digest: str) -> None:
        """Takes `digest`, the SHA-256 of the picture's file, in hexadecimal."""
        patient, device, taken = sidecar.patient, sidecar.device, sidecar.acquired_at
        study = sidecar.study_uid or uid("study", patient.issuer, patient.id, sidecar.accession_number)
        machine = (device.manufacturer, device.model, device.serial_number)
        super().__init__(
            study_instance_uid=study,
            series_instance_uid=sidecar.series_uid or uid("series", study, sidecar.modality, *machine),
            series_number=1,
            sop_instance_uid=uid("instance", digest, sidecar.model_dump_json()),
            sop_class_uid=_CLASSES.get(sidecar.modality, SecondaryCaptureImageStorage),
            instance_number=sidecar.instance_number,
            modality=sidecar.modality,
            manufacturer=device.manufacturer,
            manufacturer_model_name=device.model,
            device_serial_number=device.serial_number,
            software_versions=device.software,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            patient_id=patient.id,
            patient_birth_date=_da(patient.birth_date) if patient.birth_date else None,
            patient_sex=patient.sex,
            accession_number=sidecar.accession_number,
            series_description=sidecar.series_description,
            content_date=_da(taken),
            content_time=_tm(taken),
            specific_character_set="ISO_IR 192",
        )
        del self.InstanceCreationDate, self.InstanceCreationTime  # of this moment
        self.PatientName = patient.name  # not by the constructor, which logs names that it finds odd
        if patient.issuer is not None:
            self.IssuerOfPatientID = patient.issuer
        self._describe(sidecar, digest)
        if sidecar.modality == PHOTOGRAPH:
            self._add_vl_image(sidecar)
        elif sidecar.modality == OPHTHALMIC:
            self._add_ophthalmic(sidecar)
        else:
            self.ConversionType = "DI"
            self.ImageType = ["DERIVED", "SECONDARY"]

    def _describe(self, sidecar: Sidecar, digest: str) -> None:
        """General Image, and what of General Series and General Acquisition is known (PS3.3 sections C.7.3, C.7.6)."""
        self.AcquisitionDateTime = _dt(sidecar.acquired_at)
        if sidecar.acquired_at.utcoffset() is not None:
            self.TimezoneOffsetFromUTC = f"{sidecar.acquired_at:%z}"
        self.PatientOrientation = None
        self.BurnedInAnnotation = "YES" if sidecar.burned_in_annotation else "NO"
        self.DerivationDescription = f"wrapped as DICOM; SHA-256 of the original: {digest}"
        if sidecar.body_part is not None:
            self.BodyPartExamined = sidecar.body_part
        if sidecar.laterality is not None:
            self.ImageLaterality = sidecar.laterality

    def _add_vl_image(self, sidecar: Sidecar) -> None:
        """VL Image and Acquisition Context (PS3.3 sections C.8.12.1 and C.7.6.14)."""
        self.ImageType = ["ORIGINAL", "PRIMARY"]
        self.AcquisitionContextSequence = Sequence()
        self.AnatomicRegionSequence = Sequence([_item(getattr(codes.SCT, REGIONS[str(sidecar.body_part)]))])
        self.LossyImageCompression = ""

    def _add_ophthalmic(self, sidecar: Sidecar) -> None:
        """The modules of section A.41.3; what a sidecar does not tell is empty, as they allow."""
        self.ImageType = ["ORIGINAL", "PRIMARY"]
        self.AnatomicRegionSequence = Sequence([_item(codes.SCT.Eye)])
        self.SynchronizationFrameOfReferenceUID = uid("clock", str(self.SeriesInstanceUID))
        self.SynchronizationTrigger = "NO TRIGGER"
        self.AcquisitionTimeSynchronized = "N"
        self.NumberOfFrames = 1
        self.FrameIncrementPointer = _FRAME_TIME_VECTOR
        self.FrameTimeVector = 0
        self.LossyImageCompression = "00"
        self.AcquisitionDeviceTypeCodeSequence = Sequence([_item(getattr(codes.cid4202, str(sidecar.device.type)))])
        for keyword in (
            *("IlluminationTypeCodeSequence", "LightPathFilterTypeStackCodeSequence", "LensesCodeSequence"),
            *("ImagePathFilterTypeStackCodeSequence", "RefractiveStateSequence"),
        ):
            setattr(self, keyword, Sequence())
        for keyword in (
            *("PatientEyeMovementCommanded", "EmmetropicMagnification", "IntraOcularPressure"),
            *("HorizontalFieldOfView", "PupilDilated", "DetectorType"),
        ):
            setattr(self, keyword, None)


def set_pixels(dataset: Dataset, content: bytes) -> UID:
    """Give a header its pixels; returns how they are encoded."""
    if not content.startswith(jpeg.SOI):
        set_raster(dataset, decode(content), len(content))
        return ExplicitVRLittleEndian
    parsed, orientation = jpeg.parse(content), jpeg_orientation(content)
    check_size(parsed.columns, parsed.rows)
    as_it_is = parsed.is_baseline and (parsed.components == 1 or (parsed.components == 3 and parsed.is_ycc))
    if as_it_is and orientation == 1:
        _set_stream(dataset, parsed)
        return JPEGBaseline8Bit
    # A turned JPEG would have to be compressed a second time.
    set_raster(dataset, decode(parsed.stream, orientation), len(parsed.stream))
    return ExplicitVRLittleEndian


def _set_stream(dataset: Dataset, picture: jpeg.Jpeg) -> None:
    """Image Pixel of an encapsulated JPEG (PS3.5 sections 8.2.1 and A.4.1)."""
    photometric = "YBR_FULL_422" if picture.components == 3 else "MONOCHROME2"
    _set_image_pixel(dataset, picture.rows, picture.columns, picture.components, photometric, bits=8)
    _set_lossy(dataset, picture.rows * picture.columns * picture.components / len(picture.stream))
    dataset.add_new("PixelData", "OB", encapsulate([picture.stream]))
    dataset["PixelData"].is_undefined_length = True


def set_raster(dataset: Dataset, raster: Raster, file_bytes: int) -> None:
    """Image Pixel of decoded pixels; they say that they were compressed, where they were (C.7.6.1.1.5)."""
    pixels, bits = raster.pixels, raster.pixels.dtype.itemsize * 8
    if bits > 8 and dataset.SOPClassUID != SecondaryCaptureImageStorage:
        raise BrokenObject(f"a picture of {bits} bits per pixel; modality {dataset.Modality} takes 8: export it with 8")
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    grey = "MONOCHROME1" if raster.is_inverted else "MONOCHROME2"
    rows, columns = pixels.shape[:2]
    _set_image_pixel(dataset, rows, columns, samples, "RGB" if samples == 3 else grey, bits)
    if raster.is_lossy:
        _set_lossy(dataset, pixels.nbytes / file_bytes)
    content = pixels.tobytes()
    dataset.add_new("PixelData", "OW" if bits > 8 else "OB", content + b"\0" * (len(content) % 2))


def _set_lossy(dataset: Dataset, ratio: float) -> None:
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = f"{ratio:.2f}"
    dataset.LossyImageCompressionMethod = _JPEG_PROCESS


def _set_image_pixel(dataset: Dataset, rows: int, columns: int, samples: int, photometric: str, bits: int) -> None:
    """PS3.3 section C.7.6.3."""
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = photometric
    if samples == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    if dataset.Modality == OPHTHALMIC and samples == 1:
        dataset.PresentationLUTShape = "IDENTITY"


def uid(*parts: str | None) -> str:
    """A UID that follows from `parts`: 2.25 and a version 8 UUID as a decimal (PS3.5 section B.2, RFC 9562).

    It needs no key: it goes no further than the identifiers that it is made of do, and intake replaces it on the log.
    """
    words = [part.encode() if part is not None else b"" for part in ("radiolog", *parts)]
    digest = hashlib.sha256(b"".join(len(word).to_bytes(4, "big") + word for word in words)).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') & ~_UUID_MASK | _UUID_BITS}"


def _item(code: Code) -> Dataset:
    """A coded term (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _da(day: date) -> str:
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"


def _tm(instant: datetime) -> str:
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{instant:%H%M%S}{fraction}"


def _dt(instant: datetime) -> str:
    return _da(instant) + _tm(instant) + f"{instant:%z}"
