"""Fixtures: an intake over an in-memory log, an adapter on loopback, and real DICOM files."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from producers.dicom_scp import DicomAdapter
from producers.folder import FolderWatcher
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.publisher import MemoryPublisher
from radiolog.settings import MIB, Settings, load_settings
from schemas.events import Identity, ImageEvent

SECRET = "0123456789abcdef0123456789abcdef"
#: Files that are refused, and words of the reason.
REFUSED = {
    "JPEGLSNearLossless_08.dcm": "StudyInstanceUID (0020,000D) is missing",
    "JPEGLSNearLossless_16.dcm": "StudyInstanceUID (0020,000D) is missing",
    "SC_rgb_jls_lossy_line.dcm": "StudyInstanceUID (0020,000D) is missing",
    "SC_rgb_jls_lossy_sample.dcm": "StudyInstanceUID (0020,000D) is missing",
    "MR_truncated.dcm": "Pixel Data declares 8192 bytes, 8130 are there",
    "rtplan_truncated.dcm": "(300A,00B0) declares 976 bytes, 711 are there",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "the data set ends inside Pixel Data",
    "SC_rgb_jpeg.dcm": "not in explicit VR as its transfer syntax demands",
    "UN_sequence.dcm": "lacks SOP Class UID (0008,0016)",
    "empty_charset_LEI.dcm": "lacks SOP Class UID (0008,0016)",
    "meta_missing_tsyntax.dcm": "lacks SOP Class UID (0008,0016)",
    "nested_priv_SQ.dcm": "lacks SOP Class UID (0008,0016)",
    "no_meta_group_length.dcm": "lacks SOP Class UID (0008,0016)",
    "priv_SQ.dcm": "lacks SOP Class UID (0008,0016)",
    "no_meta.dcm": "not DICOM, or not in the transfer syntax",
    "README": "not DICOM, or not in the transfer syntax",
}
NOT_DICOM = {".py", ".json", ".jpg", ".txt", ".pyc", ".dump", ".gz", ".icc", ".md"}


def _corpus() -> list[Path]:
    """Every DICOM file that pydicom and pydicom-data carry."""
    folders = []
    for package, folder in (("pydicom", "data/test_files"), ("data_store", "data")):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        folders.append(Path(spec.origin).parent / folder)
    files = (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if path.suffix not in NOT_DICOM]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    corpus = [path for path in _corpus() if not path.name.startswith("DICOMDIR")]
    assert len(corpus) > 150, "pydicom-data is not installed"
    if "dicom_file" in metafunc.fixturenames:
        good = [path for path in corpus if path.name not in REFUSED]
        metafunc.parametrize("dicom_file", good, ids=[path.name for path in good])
    if "refused_file" in metafunc.fixturenames:
        bad = [(path, REFUSED[path.name]) for path in corpus if path.name in REFUSED]
        metafunc.parametrize(("refused_file", "reason"), bad, ids=[path.name for path, _ in bad])


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    def make(**overrides: object) -> Settings:
        defaults: dict[str, object] = {
            "state_dir": tmp_path,
            "dicom_host": "127.0.0.1",
            "dicom_port": 0,
            "stow_port": 0,
            "site_secret": SECRET,
            "inline_max_bytes": 64 * MIB,
        }
        return load_settings(**(defaults | overrides))

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(SECRET.encode())


@pytest.fixture
def publisher() -> MemoryPublisher:
    return MemoryPublisher()


@pytest.fixture
def intake(publisher: MemoryPublisher, pseudonyms: Pseudonyms, settings: Settings) -> Intake:
    return Intake(publisher, pseudonyms, settings)


@pytest.fixture
def adapter(settings: Settings, intake: Intake) -> Iterator[DicomAdapter]:
    with DicomAdapter(settings, intake) as adapter:
        yield adapter


@pytest.fixture
def images(publisher: MemoryPublisher) -> Callable[[], list[ImageEvent]]:
    return lambda: [fact.event for fact in publisher.facts if isinstance(fact.event, ImageEvent)]


@pytest.fixture
def identities(publisher: MemoryPublisher) -> Callable[[], list[Identity]]:
    return lambda: [fact.event for fact in publisher.facts if isinstance(fact.event, Identity)]


@pytest.fixture
def corpus() -> list[Path]:
    return [path for path in _corpus() if not path.name.startswith("DICOMDIR") and path.name not in REFUSED]


@pytest.fixture
def new_object() -> Callable[..., Dataset]:
    """A small, complete image; elements can be given by keyword."""

    def make(**elements: object) -> Dataset:
        dataset = Dataset()
        dataset.SOPClassUID = ComputedRadiographyImageStorage
        dataset.SOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID = "1.2.3.4.5.6.7.8.9.10"
        dataset.SeriesInstanceUID = "1.2.3.4.5.6.7.8.9.11"
        dataset.PatientID = "MRN-4711"
        dataset.PatientName = "Doe^Jane"
        dataset.Modality = "CR"
        dataset.Rows = dataset.Columns = 4
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PixelRepresentation = 0
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.PixelData = bytes(range(16))
        dataset["PixelData"].VR = "OB"
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture
def written() -> Callable[..., bytes]:
    """A data set as a Part 10 file."""

    def write(dataset: Dataset, transfer_syntax: UID = ExplicitVRLittleEndian) -> bytes:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = transfer_syntax
        file = BytesIO()
        dcmwrite(file, dataset, enforce_file_format=True)
        return file.getvalue()

    return write


@pytest.fixture
def sidecar() -> Callable[..., bytes]:
    """The sidecar of a photograph; fields can be given or, as None, left out."""

    def make(**fields: object) -> bytes:
        told: dict[str, object] = {
            "version": 1,
            "patient": {"id": "MRN-4711", "name": "Kowalska^Zofia", "birth_date": "1970-03-31", "sex": "F"},
            "modality": "XC",
            "acquired_at": "2026-05-01T10:30:00+02:00",
            "device": {"manufacturer": "Derma Ltd", "model": "D1", "serial_number": "SN-0815"},
            "burned_in_annotation": False,
            "accession_number": "ACC-77",
            "body_part": "SKIN",
            "laterality": "L",
        }
        return json.dumps({name: value for name, value in (told | fields).items() if value is not None}).encode()

    return make


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """A picture of noise in some format; an array of pixels and whatever Pillow's `save` takes can be given."""

    def make(format_: str = "JPEG", pixels: np.ndarray[Any, Any] | None = None, **options: object) -> bytes:
        if pixels is None:
            pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
        file = BytesIO()
        Image.fromarray(pixels).save(file, format_, **options)
        return file.getvalue()

    return make


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "ct-room-2"
    inbox.mkdir()
    return inbox


@pytest.fixture
def watcher(inbox: Path, intake: Intake) -> FolderWatcher:
    return FolderWatcher(inbox, intake, poll_seconds=0.01)
