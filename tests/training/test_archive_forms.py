"""Each form that labelled archives come in: what it says, what it leaves unsaid, and what is wrong with broken ones."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from models.spec import PreprocessSpec
from training.archive import Archive, ArchiveError, Example, open_archive, prepare
from training.archive.medmnist import CLASSES, MD5, SIZES

SPEC = PreprocessSpec(name="test", version=1, size=32)
PNEUMONIAS = ["pneumonia", "bacterial pneumonia", "viral pneumonia"]


def png(value: int = 90) -> bytes:
    picture = np.random.default_rng(value).integers(0, 256, (40, 40), dtype=np.uint8)
    return bytes(cv2.imencode(".png", picture)[1])


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """A zip of these index lines, and a picture for each."""

    def make(*lines: dict[str, str]) -> Path:
        text = io.StringIO()
        rows = csv.DictWriter(text, list(lines[0]))
        rows.writeheader()
        rows.writerows(lines)
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.writestr("index.csv", text.getvalue())
            for line in lines:
                archive.writestr(line["file"], png())
        return tmp_path / "set.zip"

    return make


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, labels: np.ndarray, shape: tuple[int, ...] = (28, 28), compressed: bool = False) -> Path:
        rng = np.random.default_rng(0)
        arrays = {}
        for part in ("train", "val", "test"):
            arrays[f"{part}_images"] = rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
            arrays[f"{part}_labels"] = labels
        (np.savez_compressed if compressed else np.savez)(tmp_path / name, **arrays)
        return tmp_path / name

    return make


def says(archive: Archive, findings: list[str]) -> list[list[bool | None]]:
    return [[example.says(finding) for finding in findings] for example in archive.examples]


def test_subtypes_are_findings_under_their_label(zipped) -> None:
    line = {"file": "a.png", "label": "pneumonia", "subtype": "bacteria", "patient": "p1"}
    path = zipped(
        line,
        line | {"file": "b.png", "subtype": "virus"},
        line | {"file": "c.png", "subtype": ""},
        line | {"file": "d.png", "label": "normal", "subtype": "normal"},
    )
    with open_archive(path) as archive:
        assert says(archive, [*PNEUMONIAS, "effusion"]) == [
            [True, True, False, None],
            [True, False, True, None],
            [True, None, None, None],
            [False, False, False, None],
        ]
        labels = prepare(archive, archive.examples, PNEUMONIAS, SPEC).labels
    np.testing.assert_array_equal(labels[2], [1.0, np.nan, np.nan])
    assert [example.label for example in archive.examples] == ["pneumonia"] * 3 + ["normal"]


def test_several_labels_of_one_image_say_nothing_of_the_rest(zipped) -> None:
    line = {"file": "a.png", "label": "Effusion|Mass", "patient": "p1"}
    path = zipped(line, line | {"file": "b.png", "label": "No Finding"}, line | {"file": "c.png", "label": "mass"})
    with open_archive(path) as archive:
        assert says(archive, ["effusion", "mass"]) == [[True, True], [False, False], [None, True]]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("changes", "words"),
    [({"label": "normal|mass"}, "normal, and not"), ({"file": "a.png"}, "a.png more than once")],
)
def test_an_index_that_contradicts_itself_is_refused(zipped, changes, words) -> None:
    line = {"file": "a.png", "label": "mass", "patient": "p1"}
    with pytest.raises(ArchiveError, match=words):
        open_archive(zipped(line, line | {"file": "b.png"} | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "by class"
    for name, label in (("1.png", "NORMAL"), ("2.png", "viral_pneumonia"), ("deep/3.png", "viral_pneumonia")):
        file = root / label / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(len(name)))
    (root / "viral_pneumonia" / "4.dcm").write_bytes(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())
    (root / "NORMAL" / ".hidden.png").write_bytes(b"")
    (root / "NORMAL" / "notes.txt").write_text("no image")
    return root


def test_a_folder_by_classes(folder: Path) -> None:
    with open_archive(folder) as archive:
        assert [(e.file, e.label) for e in archive.examples] == [
            ("NORMAL/1.png", "normal"),
            ("viral_pneumonia/2.png", "viral pneumonia"),
            ("viral_pneumonia/4.dcm", "viral pneumonia"),
            ("viral_pneumonia/deep/3.png", "viral pneumonia"),
        ]
        assert says(archive, PNEUMONIAS) == [[False, None, False], *[[True, None, True]] * 3]
        assert archive.examples[2].patient == "1CT1"
        assert archive.read(archive.examples[2]).shape == (128, 128)
        made = prepare(archive, archive.examples, ["pneumonia"], SPEC)
    assert made.labels.ravel().tolist() == [0, 1, 1, 1]
    assert made.pixels[2].std() > 10


def test_the_hash_of_a_folder_is_of_names_labels_and_contents(folder: Path) -> None:
    before = open_archive(folder).sha256()
    assert open_archive(folder).sha256() == before
    (folder / "NORMAL" / "1.png").write_bytes(png(77))
    changed = open_archive(folder).sha256()
    (folder / "NORMAL").rename(folder / "mass")
    assert len({before, changed, open_archive(folder).sha256()}) == 3


def test_a_csv_of_paths(folder: Path) -> None:
    index = folder / "labels.csv"
    index.write_text("path,labels\nNORMAL/1.png,normal\nviral_pneumonia/2.png,viral pneumonia\n")
    with open_archive(index) as archive:
        assert says(archive, ["pneumonia", "viral pneumonia"]) == [[False, False], [True, True]]
        assert [example.patient for example in archive.examples] == ["NORMAL/1.png", "viral_pneumonia/2.png"]
        assert archive.read(archive.examples[0]).shape == (40, 40)
        before = archive.sha256()
    index.write_text("path,labels\nNORMAL/1.png,normal\nviral_pneumonia/2.png,normal\n")
    assert open_archive(index).sha256() != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\n../outside.png,normal\n", "not below its folder"),
        ("path,label\n/etc/hostname,normal\n", "not below its folder"),
        ("path,label\n", "names no image"),
        ("path,label\n,normal\n", "names no file in line 2"),
        ("picture,label\n1.png,normal\n", "lacks columns: file"),
        ("", "lacks columns: file, label"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ArchiveError, match=words):
        open_archive(tmp_path / "labels.csv")


def test_a_missing_file_is_an_error_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\ngone.png,normal\n")
    with (
        open_archive(tmp_path / "labels.csv") as archive,
        pytest.raises(ArchiveError, match=r"gone\.png cannot be read"),
    ):
        archive.read(archive.examples[0])


@pytest.mark.parametrize("compressed", [False, True])
def test_medmnist_of_one_label(npz, compressed: bool) -> None:
    path = npz("pneumoniamnist_64.npz", np.array([[1], [0], [1]]), (64, 64), compressed)
    with np.load(path) as arrays, open_archive(path) as archive:
        assert says(archive, ["pneumonia", "bacterial pneumonia"]) == [[True, None], [False, None], [True, None]] * 3
        backwards = [archive.read(example) for example in reversed(archive.examples)]
        whole = np.concatenate([arrays[f"{part}_images"] for part in ("train", "val", "test")])
        np.testing.assert_array_equal(backwards[::-1], whole)
        assert len({example.patient for example in archive.examples}) == 9
        assert archive.examples[4].file == "val/000001"


def test_medmnist_of_several_labels(npz) -> None:
    labels = np.zeros((2, 14), np.uint8)
    labels[0, [2, 6]] = 1
    with open_archive(npz("chestmnist.npz", labels)) as archive:
        first, second = archive.examples[:2]
        assert first.present == {"effusion", "pneumonia"}
        assert len(first.absent) == 12
        assert (second.label, len(second.absent)) == ("normal", 14)


def test_classes_can_be_named(npz) -> None:
    path = npz("own.npz", np.array([[0], [1]]), (30, 30, 3))
    with pytest.raises(ArchiveError, match="--class NAME"):
        open_archive(path)
    with open_archive(path, ("Normal", "Viral_Pneumonia")) as archive:
        assert archive.examples[1].present == {"pneumonia", "viral pneumonia"}
        made = prepare(archive, archive.examples, ["pneumonia"], SPEC)
    assert made.pixels.shape == (6, 32, 32)


@pytest.mark.parametrize(
    ("labels", "shape", "words"),
    [
        (np.array([[2]]), (28, 28), "not 0 to 1"),
        (np.array([[0, 1, 0]]), (28, 28), "not a label for each of 1 images"),
        (np.array([[0]]), (28, 28, 28), "only pictures are read"),
    ],
)
def test_an_npz_of_something_else_is_refused(npz, labels, shape, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        open_archive(npz("pneumoniamnist.npz", labels, shape))


def test_a_cut_off_npz_is_refused(npz) -> None:
    path = npz("pneumoniamnist.npz", np.array([[0]] * 20))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ArchiveError, match="not a readable"):
        open_archive(path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    images = np.zeros((1, 8, 8), np.uint8)
    np.savez(tmp_path / "pneumoniamnist.npz", train_images=images, train_labels=np.array([{"a": 1}], object))
    with pytest.raises(ArchiveError, match="broken"):
        open_archive(tmp_path / "pneumoniamnist.npz")


def test_what_has_no_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, words in (("set.tar", "no labelled archive"), ("empty", "no images by class")):
        with pytest.raises(ArchiveError, match=words):
            open_archive(tmp_path / name)


def test_what_is_published_has_a_checksum_for_each_size() -> None:
    assert CLASSES.keys() <= MD5.keys()
    sums = [md5 for by_size in MD5.values() for md5 in by_size.values()]
    assert all(tuple(by_size) == SIZES for by_size in MD5.values())
    assert len(set(sums)) == len(sums)


def test_an_example_says_what_it_knows() -> None:
    example = Example("a", "mass", "p", frozenset({"mass"}), frozenset({"nodule"}))
    assert [example.says(name) for name in ("mass", "nodule", "hernia")] == [True, False, None]


def test_what_is_too_large_is_not_read(zipped, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped({"file": "a.png", "label": "mass", "patient": "p1"})
    for form in ("zipped", "files"):
        monkeypatch.setattr(f"training.archive.{form}.MAX_BYTES", 100)
    for where in (path, folder):
        with open_archive(where) as archive, pytest.raises(ArchiveError, match="100 are read"):
            archive.content(archive.examples[0])


def test_an_index_that_is_broken_is_refused(zipped) -> None:
    path = zipped({"file": "a.png", "label": "mass", "patient": "p1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"index.csv") + 12] ^= 0xFF  # in the data, which no longer match their checksum
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_archive(path)
