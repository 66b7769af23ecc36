"""What the demo's device sends: DICOM files that the packages pydicom and pydicom-data carry, and two broken ones."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

FILES = {
    "RG1_UNCR.dcm": "chest CR, uncompressed",
    "RG1_UNCI.dcm": "chest CR, uncompressed",
    "RG1_J2KR.dcm": "chest CR, JPEG 2000 lossless",
    "RG1_J2KI.dcm": "chest CR, JPEG 2000 lossy",
    "RG3_UNCR.dcm": "extremity CR",
    "CT_small.dcm": "CT",
    "MR_small.dcm": "MR",
    "US1_UNCR.dcm": "ultrasound",
    "reportsi.dcm": "structured report",
    "waveform_ecg.dcm": "ECG waveform",
}


class SampleMissing(Exception):
    """A sample file is not installed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One file to send, and what it is."""

    path: Path
    what: str


def samples(folder: Path) -> Iterator[Sample]:
    """The files to send; the two broken ones are written to `folder` first.

    Raises:
        SampleMissing: pydicom-data is not installed.
    """
    for name, what in FILES.items():
        yield Sample(_installed(name), what)
    yield Sample(_half_the_pixels(folder), "chest CR, half of its pixel data")
    yield Sample(_random_bytes(folder), "random bytes")


def _installed(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    if found is None:
        raise SampleMissing(f"{name} is not installed: `pip install pydicom-data` brings it")
    return Path(str(found))


def _half_the_pixels(folder: Path) -> Path:
    dataset = dcmread(_installed("RG1_UNCR.dcm"))
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]
    path = folder / "half.dcm"
    dcmwrite(path, dataset)
    return path


def _random_bytes(folder: Path) -> Path:
    path = folder / "random.dcm"
    path.write_bytes(random.Random(20261123).randbytes(4096))  # noqa: S311 (not a secret)
    return path
