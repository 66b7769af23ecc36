"""What the peers send: the files that pydicom brings, and small objects of any transfer syntax."""

import importlib.util
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

NOT_DICOM = {".py", ".json", ".jpg", ".txt", ".pyc", ".dump", ".gz", ".icc", ".md"}


def corpus() -> list[Path]:
    """Every file of pydicom and pydicom-data that could be a DICOM object."""
    found: list[Path] = []
    for package, folder in (("pydicom", "data/test_files"), ("data_store", "data")):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found += sorted(path for path in (Path(spec.origin).parent / folder).rglob("*") if path.is_file())
    files = [path for path in found if path.suffix not in NOT_DICOM and not path.name.startswith("DICOMDIR")]
    assert len(files) > 150, "pydicom-data is not installed"
    return files


def write_object(path: Path, syntax: str = ExplicitVRLittleEndian, edge: int = 64) -> str:
    """Writes a radiograph, in a compressed syntax with a fragment that is none; gives its SOP Instance UID."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientID, image.PatientName, image.Modality = "MRN-4711", "Doe^Jane", "CR"
    image.BodyPartExamined, image.Rows, image.Columns = "CHEST", edge, edge
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    pixels = bytes(range(256)) * (edge * edge // 256)
    image.add_new("PixelData", "OB", encapsulate([pixels]) if UID(syntax).is_encapsulated else pixels)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(syntax)
    dcmwrite(path, image, enforce_file_format=True)
    return str(image.SOPInstanceUID)
