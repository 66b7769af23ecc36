"""Copies are found, other pictures are not taken for copies, and none is left across splits."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pixels import raster_to_model_input
from models.spec import PreprocessSpec
from training.archive import LabelledArchive
from training.duplicates import Kind, Pair, counted, fingerprint, leaks, pairs
from training.split import ORDER, Split

SPEC = PreprocessSpec(name="test", version=1, size=96)


def scene(seed: int, edge: int = 96) -> np.ndarray:
    """A picture of broad patches, as radiographs are."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (9, 9)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (edge, edge), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def blurred(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def compressed(picture: np.ndarray) -> np.ndarray:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def halved(picture: np.ndarray) -> np.ndarray:
    rows, columns = picture.shape
    small = cv2.resize(picture, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (columns, rows)), np.uint8)


def brightened(picture: np.ndarray) -> np.ndarray:
    return np.rint(255 * (picture / 255.0) ** 0.8).astype(np.uint8)


def kinds(*pictures: np.ndarray) -> list[Pair]:
    return list(pairs([fingerprint(picture) for picture in pictures]))


@pytest.mark.parametrize("change", [blurred, compressed, halved, brightened])
def test_a_copy_from_another_export_is_near(change) -> None:
    for seed in range(10):
        assert kinds(scene(seed), change(scene(seed))) == [Pair(0, 1, Kind.NEAR)]


def test_the_same_pixels_are_exact_and_others_are_neither() -> None:
    found = kinds(*(scene(seed) for seed in range(30)), scene(7))
    assert found == [Pair(7, 30, Kind.EXACT)]


def test_blank_pictures_are_like_none_but_the_same() -> None:
    blank = np.zeros((96, 96), np.uint8)
    assert kinds(blank, blank + 1, blank, scene(0)) == [Pair(0, 2, Kind.EXACT)]


def test_one_and_none() -> None:
    assert kinds() == []
    assert kinds(scene(0)) == []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_nothing_is_left_across_splits_and_only_the_training_side_goes(data: st.DataObject) -> None:
    splits = data.draw(st.lists(st.sampled_from(ORDER), min_size=2, max_size=12))
    numbers = st.integers(0, len(splits) - 1)
    drawn = data.draw(st.sets(st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1])))
    found = [Pair(*pair, Kind.NEAR) for pair in sorted(drawn)]
    out = {leak.number: leak for leak in leaks(found, splits)}
    for pair in found:
        if splits[pair.first] is not splits[pair.second]:
            assert {pair.first, pair.second} & out.keys()
    for leak in out.values():
        assert ORDER.index(splits[leak.number]) < ORDER.index(splits[leak.like])
    counts = counted(found, splits)
    assert sum(counts.values()) == len(found)
    assert bool(out) == (counts["near across splits"] > 0)


def test_test_data_never_go() -> None:
    splits = [Split.TEST, Split.TRAIN, Split.VALIDATION]
    found = [Pair(0, 1, Kind.EXACT), Pair(0, 2, Kind.NEAR)]
    assert [(leak.number, leak.like) for leak in leaks(found, splits)] == [(1, 0), (2, 0)]


def test_children_are_not_taken_for_one_another(shared_data: Path) -> None:
    """One picture each of some hundred patients, and a copy of each in another export."""
    with LabelledArchive(shared_data / "chest-xray-pneumonia-train-224.zip") as archive:
        some = list({example.patient: example for example in archive.examples}.values())[::18]
        pictures = [archive.read(example) for example in some]
    made = [raster_to_model_input(picture, SPEC)[0] for picture in (*pictures, *map(compressed, pictures))]
    found = {(pair.first, pair.second) for pair in kinds(*made)}
    copies = {(number, number + len(some)) for number in range(len(some))}
    assert len(some) > 150
    assert found <= copies
    assert len(found) > 0.97 * len(copies)
