from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from models.bundle import Bundle, FindingSpec, SeverityBands
from models.scope import Scope
from models.spec import PreprocessSpec

MakeDicom = Callable[..., bytes]


@pytest.fixture(scope="session")
def spec() -> PreprocessSpec:
    return PreprocessSpec(name="test", version=1, size=64)


@pytest.fixture(scope="session")
def bundle(spec: PreprocessSpec) -> Bundle:
    """A bundle with two findings and no network: all that decisions need."""
    bands = SeverityBands(map_level=1.0, moderate_from=0.25, severe_from=0.5)
    thresholds = {"accuracy": 0.5, "sensitivity-95": 0.02}
    return Bundle(
        name="two",
        version="3",
        architecture={},
        findings=(
            FindingSpec(
                code="233604007",
                name="pneumonia",
                temperature=2.0,
                bias=0.0,
                thresholds=thresholds,
                indeterminate_margin=0.3,
                severity=bands,
            ),
            FindingSpec(
                code="60046008",
                name="pleural effusion",
                temperature=1.0,
                bias=1.0,
                thresholds=thresholds,
                indeterminate_margin=0.0,
                severity=bands,
            ),
        ),
        operating_point="accuracy",
        spec=spec,
        scope=Scope(
            modalities=("CR", "DX"),
            body_parts=("CHEST",),
            min_std=8.0,
            min_lungs=0.05,
            max_distance=1.5,
            mean=np.zeros(4, np.float32),
            whitening=np.eye(4, dtype=np.float32),
        ),
        lineage={"seed": 0},
        metrics={"validation/pneumonia": {"accuracy": 0.9}},
        weights={"head.kernel": np.arange(6, dtype=np.float32).reshape(3, 2)},
    )


@pytest.fixture(scope="session")
def make_dicom() -> MakeDicom:
    """Write a Part 10 file around stored values; attributes given as None are left out."""

    def make(
        pixels: np.ndarray,
        *,
        transfer_syntax: UID = ExplicitVRLittleEndian,
        encoded: bytes | None = None,
        **attributes: Any,
    ) -> bytes:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = transfer_syntax
        meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
        meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
        dataset = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
        bits = pixels.dtype.itemsize * 8
        values: dict[str, Any] = {
            "SOPClassUID": ComputedRadiographyImageStorage,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 1 if pixels.ndim == 2 else 3,
            "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
            "BitsAllocated": bits,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            "PixelData": encapsulate([encoded]) if encoded is not None else pixels.tobytes(),
        }
        if pixels.ndim == 3:
            values["PlanarConfiguration"] = 0
        for keyword, value in (values | attributes).items():
            if value is not None:
                setattr(dataset, keyword, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OB" if encoded is not None or bits == 8 else "OW"
        stream = BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return make
