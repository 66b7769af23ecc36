"""One radiograph in each transfer syntax: the chest CR of pydicom-data, 1955 x 1841 in 15 bits.

Uncompressed and in JPEG 2000 it comes as it is; the others are made of the uncompressed one, without loss but for JPEG
baseline, which holds eight bits.
"""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID, HTJ2KLossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

Encoder = Callable[[NDArray[Any], Dataset], bytes]

NATIVE = "RG1_UNCR.dcm"
AS_THEY_COME = {
    "uncompressed": NATIVE,
    "JPEG 2000 lossless": "RG1_J2KR.dcm",
    "JPEG 2000 lossy": "RG1_J2KI.dcm",
}
LOSSLESS: dict[str, tuple[UID, Encoder]] = {
    "JPEG lossless": (JPEGLosslessSV1, lambda pixels, _: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1)),
    "JPEG-LS": (JPEGLSLossless, lambda pixels, _: imagecodecs.jpegls_encode(pixels)),
    "RLE": (RLELossless, lambda _, dataset: next(RLELosslessEncoder.iter_encode(dataset))),
    "HTJ2K": (HTJ2KLossless, lambda pixels, _: imagecodecs.htj2k_encode(pixels, reversible=True)),
}
BASELINE = "JPEG baseline"

SYNTAXES = (*AS_THEY_COME, *LOSSLESS, BASELINE)


def radiograph(name: str) -> bytes:
    """The DICOM Part 10 file in the transfer syntax, one of `SYNTAXES`."""
    if name in AS_THEY_COME:
        return _sample(AS_THEY_COME[name])
    dataset = dcmread(BytesIO(_sample(NATIVE)))
    if name == BASELINE:
        return _encapsulated(dataset, JPEGBaseline8Bit, _in_eight_bits(dataset))
    syntax, encode = LOSSLESS[name]
    return _encapsulated(dataset, syntax, encode(dataset.pixel_array, dataset))


def enlarged(megabytes: float) -> bytes:
    """The uncompressed one with as many pixels, in proportion, as fill so many megabytes."""
    dataset = dcmread(BytesIO(_sample(NATIVE)))
    scale = (megabytes * 1e6 / (2 * dataset.Rows * dataset.Columns)) ** 0.5
    rows, columns = round(scale * dataset.Rows), round(scale * dataset.Columns)
    pixels = cv2.resize(dataset.pixel_array, (columns, rows), interpolation=cv2.INTER_LINEAR)
    dataset.Rows, dataset.Columns, dataset.PixelData = rows, columns, pixels.tobytes()
    return _file(dataset)


def _sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def _in_eight_bits(dataset: Dataset) -> bytes:
    shift = dataset.BitsStored - 8
    pixels = (dataset.pixel_array >> shift).astype(np.uint8)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.WindowCenter, dataset.WindowWidth = (
        dataset[key].value / 2**shift for key in ("WindowCenter", "WindowWidth")
    )
    return bytes(imagecodecs.jpeg8_encode(pixels, level=95))


def _encapsulated(dataset: Dataset, syntax: UID, frame: bytes) -> bytes:
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return _file(dataset)


def _file(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
