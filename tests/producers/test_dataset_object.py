"""Images of data sets as DICOM objects: valid, the same for the same image, and nothing said that is not known."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from highdicom import _standard_utils as standard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from models.pixels import decode, to_display
from producers import dicom_object
from producers.dataset_object import DatasetImage, DatasetObjects
from producers.errors import Refused

GREY = np.random.default_rng(0).integers(0, 256, (24, 33), np.uint8)
OBJECTS = DatasetObjects("set.zip", "DX", "CHEST")


def jpeg(pixels: np.ndarray = GREY) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels)[1])


def whole(image: DatasetImage, objects: DatasetObjects = OBJECTS) -> Dataset:
    received = objects.received(image)
    parsed = dicom_object.split(received.dataset, received.transfer_syntax, 1 << 30)
    pieces = dicom_object.pieces(parsed.header, parsed.pixels, parsed.transfer_syntax)
    return dcmread(BytesIO(b"".join(map(bytes, pieces))))


@pytest.mark.parametrize("content", [jpeg(), GREY, np.stack([GREY] * 3, axis=-1)], ids=["jpeg", "grey", "rgb"])
def test_every_attribute_that_the_standard_demands_is_there(content) -> None:
    dataset = whole(DatasetImage("a", "p1", content))
    modules = standard.get_sop_class_iod_map()[dataset.SOPClassUID]
    mandatory = [m["key"] for m in standard.get_iod_module_map()[modules] if m["usage"] == "M"]
    assert "general-series" in mandatory
    for module in mandatory:
        for attribute in standard.get_module_attribute_map()[module]:
            if not attribute["path"] and attribute["type"] in ("1", "2"):
                assert attribute["keyword"] in dataset, (module, attribute["keyword"])
                assert attribute["type"] == "2" or dataset[attribute["keyword"]].value not in (None, "")
    assert (dataset.Modality, dataset.BodyPartExamined, dataset.PatientID) == ("DX", "CHEST", "p1")
    assert "AcquisitionDateTime" not in dataset


def test_a_jpeg_is_carried_as_it_is() -> None:
    dataset = whole(DatasetImage("a", "p1", jpeg()))
    assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    seen = to_display(decode(_file(dataset)))
    np.testing.assert_allclose(seen, cv2.imdecode(np.frombuffer(jpeg(), np.uint8), cv2.IMREAD_GRAYSCALE), atol=1)


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_a_raster_keeps_its_pixels(pixels) -> None:
    dataset = whole(DatasetImage("a", "p1", pixels))
    assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(dataset.pixel_array.reshape(pixels.shape), pixels)


def test_the_same_image_gives_the_same_bytes_and_another_one_others() -> None:
    images = [
        DatasetImage("a", "p1", GREY),
        DatasetImage("b", "p1", GREY),
        DatasetImage("a", "p2", GREY),
        DatasetImage("a", "p1", GREY // 2),
    ]
    once, again = ([OBJECTS.received(image).dataset for image in images] for _ in range(2))
    assert once == again
    elsewhere = DatasetObjects("other.zip", "DX", "CHEST").received(images[0]).dataset
    assert len({*once, elsewhere}) == 5
    other = whole(images[0], DatasetObjects("other.zip", "DX", "CHEST"))
    for uid in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert other[uid].value != whole(images[0])[uid].value
    instances = {whole(image).SOPInstanceUID for image in images}
    assert len(instances) == 4


@pytest.mark.parametrize("patient", ["a\\b", "x" * 65, " p", "", "a\nb"])
def test_what_is_no_patient_id_becomes_a_token(patient: str) -> None:
    dataset = whole(DatasetImage("a", patient, GREY))
    assert len(dataset.PatientID) == 32
    assert dataset.PatientID != whole(DatasetImage("a", patient + "2", GREY)).PatientID


def test_a_dicom_file_goes_as_it_is(sample) -> None:
    file = sample("CT_small.dcm").read_bytes()
    received = OBJECTS.received(DatasetImage("a", "p1", file))
    assert received.dataset == file[-len(received.dataset) :]


@pytest.mark.parametrize(
    "content", [b"", b"no picture", jpeg()[:100], b"\0" * 128 + b"DICM", GREY.astype(np.uint16), GREY[None]]
)
def test_what_is_no_picture_is_refused(content) -> None:
    with pytest.raises(Refused):
        OBJECTS.received(DatasetImage("a", "p1", content))


@pytest.mark.parametrize(("modality", "part"), [("dx", "CHEST"), ("DX", "chest wall"), ("DX", "A" * 17)])
def test_code_strings_are_checked(modality: str, part: str) -> None:
    with pytest.raises(ValueError, match="no code string"):
        DatasetObjects("set", modality, part)


def _file(dataset: Dataset) -> BytesIO:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    file.seek(0)
    return file
