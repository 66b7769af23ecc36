"""Masks that somebody drew: in the geometry of the model input, of the right image, or an error that says which."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.spec import PreprocessSpec
from training.archive import Archive, ArchiveError, Example, open_archive
from training.lung_masks import LungMasks

SPEC = PreprocessSpec(name="test", version=1, size=32)
MASK = cv2.ellipse(np.zeros((40, 60), np.uint8), (20, 22), (9, 14), 0, 0, 360, 255, -1)
PICTURE = np.where(MASK > 0, 30, 150).astype(np.uint8) + np.random.default_rng(0).integers(
    0, 60, MASK.shape, dtype=np.uint8
)

MakeMasks = Callable[..., Path]


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Two pictures of the same form: `normal/a.png` and `normal/b.png`."""
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("index.csv", "file,label,patient\nnormal/a.png,normal,p1\nnormal/b.png,normal,p2\n")
        for name in ("a", "b"):
            file.writestr(f"normal/{name}.png", png(PICTURE))
    with open_archive(path) as opened:
        yield opened


@pytest.fixture
def make_masks(tmp_path: Path) -> MakeMasks:
    """A zip of masks; by default one, of `normal/a.png`."""

    def make(
        index: str | bytes | None = "image,mask\nnormal/a.png,a.png\n",
        files: Mapping[str, bytes] = {"a.png": png(MASK)},
    ) -> Path:
        path = tmp_path / "masks.zip"
        with zipfile.ZipFile(path, "w") as file:
            if index is not None:
                file.writestr("index.csv", index)
            for name, content in files.items():
                file.writestr(name, content)
        return path

    return make


def example(archive: Archive, name: str = "a") -> Example:
    return next(each for each in archive.examples if each.file == f"normal/{name}.png")


def test_a_mask_lies_over_its_image(archive: Archive, make_masks: MakeMasks) -> None:
    """The lungs are dark and the rest is bright, so the mask must divide the model input into dark and bright."""
    with LungMasks(make_masks()) as masks:
        pixels, mask = masks.pair(archive, example(archive), SPEC)
    assert pixels.shape == mask.shape == (32, 32)
    assert pixels.dtype == mask.dtype == np.uint8
    inside, tissue = mask >= 250, (mask <= 5) & (pixels > 0)
    assert inside.sum() > 50
    assert pixels[inside].max() < pixels[tissue].min()
    # 40 x 60 pixels become 21 x 32 with black above and below: the mask has nothing there either.
    assert not mask[:5].any()
    assert not mask[-5:].any()
    share = (mask / 255.0).sum() / (32 * 32 * 40 / 60)
    assert share == pytest.approx((MASK > 0).mean(), rel=0.1)


def test_only_what_the_index_names_is_there(archive: Archive, make_masks: MakeMasks) -> None:
    with LungMasks(make_masks()) as masks:
        assert [each.file for each in archive.examples if each in masks] == ["normal/a.png"]


def test_columns_may_be_more_and_the_file_from_a_spreadsheet(archive: Archive, make_masks: MakeMasks) -> None:
    index = "\ufeffimage,patient,mask\nnormal/a.png,p1,a.png\n".encode()
    with LungMasks(make_masks(index)) as masks:
        assert masks.pair(archive, example(archive), SPEC)[1].any()


def test_a_mask_of_another_shape_is_refused(archive: Archive, make_masks: MakeMasks) -> None:
    """Turned round it would fit the square, and be of something else."""
    with (
        LungMasks(make_masks(files={"a.png": png(MASK.T)})) as masks,
        pytest.raises(ArchiveError, match=r"mask of normal/a.png in images.zip is 60 x 40 pixels, the image is not"),
    ):
        masks.pair(archive, example(archive), SPEC)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "a.png cannot be read from masks.zip"),
        ({"a.png": b"no picture"}, "a.png in masks.zip is not a picture"),
        ({"a.png": b""}, "a.png in masks.zip is not a picture"),
    ],
)
def test_a_mask_that_is_named_and_none_is_an_error(
    archive: Archive, make_masks: MakeMasks, files: Mapping[str, bytes], words: str
) -> None:
    with LungMasks(make_masks(files=files)) as masks, pytest.raises(ArchiveError, match=words):
        masks.pair(archive, example(archive), SPEC)


def test_a_damaged_mask_is_an_error(archive: Archive, make_masks: MakeMasks) -> None:
    path = make_masks()
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 10] ^= 0xFF  # the checksum that the zip keeps of the file is another now
    path.write_bytes(content)
    with LungMasks(path) as masks, pytest.raises(ArchiveError, match=r"a\.png cannot be read from masks\.zip"):
        masks.pair(archive, example(archive), SPEC)


def test_an_image_that_is_none_is_named(tmp_path: Path, make_masks: MakeMasks) -> None:
    path = tmp_path / "broken.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("index.csv", "file,label,patient\nnormal/a.png,normal,p1\n")
        file.writestr("normal/a.png", b"no picture")
    with (
        open_archive(path) as archive,
        LungMasks(make_masks()) as masks,
        pytest.raises(ArchiveError, match=r"normal/a\.png in broken\.zip is not a picture"),
    ):
        masks.pair(archive, example(archive), SPEC)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (None, "is no zip of masks with an index.csv"),
        ("image,file\n", "index.csv of masks.zip lacks columns: mask"),
        ("", "index.csv of masks.zip lacks columns: image, mask"),
        (b"image,mask\n\xff,a.png\n", "is no zip of masks with an index.csv"),
    ],
)
def test_an_index_that_is_none_is_refused(make_masks: MakeMasks, index: str | bytes | None, words: str) -> None:
    with pytest.raises(ArchiveError, match=words):
        LungMasks(make_masks(index))


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "masks.zip").write_bytes(b"no zip")
    with pytest.raises(ArchiveError, match="is no zip of masks"):
        LungMasks(tmp_path / "masks.zip")
    with pytest.raises(ArchiveError, match="is no zip of masks"):
        LungMasks(tmp_path / "gone.zip")
