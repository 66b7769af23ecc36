"""Folders by class: names, kinds of files, and what becomes of all that cannot be read."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from models.bundle import Bundle
from training.evaluation.folder import FolderSource
from training.evaluation.source import EvaluationError, Example, Problem

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
REPORT = Path(str(get_testdata_file("reportsi.dcm", download=False)))


def read(folder: Path, bundle: Bundle) -> list[Example | Problem]:
    source = FolderSource(folder, bundle)
    items = list(source)
    assert len(items) == len(source)
    return items


def problems(folder: Path, bundle: Bundle) -> dict[str, str | None]:
    return {item.kind: item.label for item in read(folder, bundle) if isinstance(item, Problem)}


def test_any_depth_letter_case_and_word_break(make_folder, bundle) -> None:
    folder = make_folder(
        {
            "Normal/deep/er/a.PNG": 1,
            "VIRAL_pneumonia/b.jpeg": 2,
            "bacterial pneumonia/c.JPG": 1,
            "Viral-Pneumonia/d.png": 1,
        }
    )
    items = read(folder, bundle)
    assert sorted(item.case.label for item in items) == [
        "bacterial pneumonia",
        "normal",
        "viral pneumonia",
        "viral pneumonia",
        "viral pneumonia",
    ]
    assert all(item.pixels.shape == (32, 32) for item in items)
    assert {item.geometry.original_rows for item in items} == {40}


def test_a_dicom_file_brings_patient_scope_and_subgroup(make_folder, bundle) -> None:
    folder = make_folder({"normal/a.png": 1})
    dataset = dcmread(CT)
    dataset.PatientAge, dataset.PatientSex, dataset.PatientID = "007Y", "F", "Doe-1"
    dataset.Manufacturer = "ACME"
    dataset.save_as(folder / "normal" / "ct.DCM")
    picture, ct = read(folder, bundle)
    assert (ct.modality, ct.case.patient) == ("CT", "Doe-1")
    assert ct.case.attributes == {"sex": "female", "age": "6 to 17", "device": "ACME"}
    assert (picture.modality, picture.case.attributes) == (None, {})


def test_everything_that_cannot_be_read_is_named_by_its_kind(make_folder, bundle) -> None:
    folder = make_folder({"normal/a.png": 1})
    (folder / "readme.txt").write_text("about")
    normal = folder / "normal"
    (normal / "broken.jpg").write_bytes(b"no picture")
    (normal / "empty.png").write_bytes(b"")
    (normal / "notes.txt").write_text("text")
    (normal / "text.dcm").write_text("text")
    (normal / "cut.dcm").write_bytes(CT.read_bytes()[:-20_000])
    (normal / "report.dcm").write_bytes(REPORT.read_bytes())
    os.mkfifo(normal / "pipe.png")
    (normal / "loop").symlink_to(folder, target_is_directory=True)
    (normal / "gone.png").symlink_to(folder / "nowhere.png")
    assert problems(folder, bundle) == {
        "in no class folder": None,
        "pixels cannot be decoded": "normal",
        "neither DICOM, JPEG nor PNG by its name": "normal",
        "not a DICOM file": "normal",
        "cut short": "normal",
        "a DICOM object without pixels": "normal",
        "no file": "normal",
    }
    assert len(read(folder, bundle)) == 11


def test_a_file_that_cannot_be_opened(make_folder, bundle, monkeypatch) -> None:
    folder = make_folder({"normal/a.png": 1})

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    (problem,) = read(folder, bundle)
    assert (problem.kind, problem.reason) == ("cannot be opened", "Permission denied")


def test_no_name_and_no_reason_holds_what_a_file_is_called(make_folder, bundle) -> None:
    folder = make_folder({"normal/John_Doe.png": 1})
    for name in ("John_Doe.txt", "John_Doe_broken.jpg", "John_Doe.dcm"):
        (folder / "normal" / name).write_bytes(b"x")
    source = FolderSource(folder, bundle)
    for item in source:
        name = item.case.name if isinstance(item, Example) else item.name
        said = [name] if isinstance(item, Example) else [name, item.kind, item.reason]
        assert not any("Doe" in word for word in said)
        assert "John_Doe" in source.whereabouts(name)


def test_the_same_data_have_the_same_hash_and_others_another(make_folder, bundle) -> None:
    folder = make_folder({"normal/a.png": 3, "pneumonia/b.png": 2})

    def described() -> dict:
        source = FolderSource(folder, bundle)
        list(source)
        return dict(source.describe())

    first = described()
    (folder / "normal" / "a0.png").rename(folder / "normal" / "z.png")
    assert described() == first
    assert first["files"] == {"normal": 3, "pneumonia": 2}
    (folder / "normal" / "z.png").rename(folder / "pneumonia" / "z.png")
    assert described()["sha256"] != first["sha256"]


def test_files_with_one_content_are_one_patient(make_folder, bundle) -> None:
    folder = make_folder({"normal/a.png": 2})
    (folder / "normal" / "copy.png").write_bytes((folder / "normal" / "a0.png").read_bytes())
    first, other, copy = (item.case for item in read(folder, bundle))
    assert (copy.name, copy.patient) == (first.name, first.patient)
    assert other.patient != first.patient


def test_an_image_is_shown_in_its_own_geometry_and_a_lost_one_is_not(make_folder, bundle) -> None:
    folder = make_folder({"normal/a.png": 1})
    (folder / "normal" / "ct.dcm").write_bytes(CT.read_bytes())
    source = FolderSource(folder, bundle)
    picture, ct = list(source)
    expected = cv2.imread(str(folder / "normal" / "a0.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(source.display(picture.case.name), expected)
    assert source.display(ct.case.name).shape == (128, 128)
    (folder / "normal" / "a0.png").unlink()
    assert source.display(picture.case.name) is None


def test_a_folder_of_another_name_is_an_error_that_says_what_is_expected(make_folder, bundle) -> None:
    folder = make_folder({"normal/a.png": 1, "effusion/b.png": 1, "zebra/c.png": 1})
    with pytest.raises(EvaluationError) as caught:
        FolderSource(folder, bundle)
    text = str(caught.value)
    assert "'effusion'" in text
    assert "1 more" in text
    assert "normal, pneumonia, bacterial pneumonia, viral pneumonia" in text


def test_a_folder_without_folders_is_an_error(tmp_path, bundle) -> None:
    with pytest.raises(EvaluationError, match="holds no folders"):
        FolderSource(tmp_path, bundle)
    with pytest.raises(EvaluationError, match="cannot be read: No such file"):
        FolderSource(tmp_path / "gone", bundle)


def test_no_more_is_read_than_a_little_ahead(make_folder, bundle, monkeypatch) -> None:
    folder = make_folder({"normal/a.png": 12})
    monkeypatch.setattr("training.evaluation.folder._READ_AHEAD", 3)
    opened = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path), original(path))[1])
    items = iter(FolderSource(folder, bundle))
    next(items)
    assert len(opened) <= 3
    assert len(list(items)) == 11


def test_a_header_that_deviates_from_the_standard_warns_nobody(make_folder, bundle, recwarn) -> None:
    folder = make_folder({"normal/a.png": 1})
    dataset = dcmread(CT)
    dataset.Manufacturer = "Jane Doe " * 10
    dataset.save_as(folder / "normal" / "ct.dcm")
    recwarn.clear()
    source = FolderSource(folder, bundle)
    items = list(source)
    source.display(items[-1].case.name)
    assert not [str(warning.message) for warning in recwarn if "VR" in str(warning.message)]
