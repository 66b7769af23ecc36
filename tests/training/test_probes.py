"""The law of each probe: what it leaves is as it was, and what it hides cannot be told from what is left."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.probes import PROBES, Lungs, Pictures, border, corners, histogram, lung_outline, lungs_alone, lungs_out

SIZES = st.integers(8, 100)


def drawn(seed: int, size: int, count: int = 2) -> tuple[Pictures, Lungs]:
    """Pictures without a black pixel, so that black is what was hidden, and an ellipse in each for lungs."""
    rng = np.random.default_rng(seed)
    lungs = np.zeros((count, size, size), np.uint8)
    for mask in lungs:
        middle = tuple(int(at) for at in rng.integers(size // 3, size - size // 3, 2))
        cv2.ellipse(mask, middle, (size // 4, size // 5), 0, 0, 360, 1, -1)
    return rng.integers(1, 256, (count, size, size), dtype=np.uint8), lungs > 0


@pytest.mark.parametrize("name", PROBES)
@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=15, deadline=None)
def test_each_gives_pictures_of_the_same_shape_and_leaves_the_originals(name: str, seed: int, size: int) -> None:
    pictures, lungs = drawn(seed, size)
    before = pictures.copy(), lungs.copy()
    left = PROBES[name](pictures, lungs)
    assert (left.dtype, left.shape) == (np.uint8, pictures.shape)
    np.testing.assert_array_equal(pictures, before[0])
    np.testing.assert_array_equal(lungs, before[1])
    assert np.array_equal(left, pictures) == (name == "everything")


@pytest.mark.parametrize("name", PROBES)
def test_each_picture_is_seen_by_itself(name: str) -> None:
    pictures, lungs = drawn(3, 32, count=5)
    one_by_one = [PROBES[name](pictures[row : row + 1], lungs[row : row + 1]) for row in range(5)]
    np.testing.assert_array_equal(PROBES[name](pictures, lungs), np.concatenate(one_by_one))


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_the_border_is_as_it_was_and_the_inside_is_black(seed: int, size: int) -> None:
    pictures, lungs = drawn(seed, size)
    left, width = border(pictures, lungs), max(1, round(0.08 * size))
    inside = (slice(None), slice(width, -width), slice(width, -width))
    assert not left[inside].any()
    left[inside] = pictures[inside]
    np.testing.assert_array_equal(left, pictures)


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_four_squares_are_as_they_were_and_the_rest_is_black(seed: int, size: int) -> None:
    pictures, lungs = drawn(seed, size)
    left, edge = corners(pictures, lungs), max(1, round(size / 8))
    expected = np.zeros_like(pictures)
    for rows in (slice(edge), slice(-edge, None)):
        for columns in (slice(edge), slice(-edge, None)):
            expected[:, rows, columns] = pictures[:, rows, columns]
    np.testing.assert_array_equal(left, expected)


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_the_histogram_stays_and_nothing_else_does(seed: int, size: int) -> None:
    pictures, lungs = drawn(seed, size)
    left = histogram(pictures, lungs)
    for picture, levels in zip(pictures, left, strict=True):
        np.testing.assert_array_equal(
            np.bincount(picture.ravel(), minlength=256), np.bincount(levels.ravel(), minlength=256)
        )
    rng = np.random.default_rng(seed)
    permuted = rng.permuted(pictures.reshape(2, -1), axis=1).reshape(pictures.shape)
    np.testing.assert_array_equal(histogram(permuted, ~lungs), left)


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_lungs_out_leaves_nothing_in_or_just_beside_them(seed: int, size: int) -> None:
    pictures, lungs = drawn(seed, size)
    left, margin = lungs_out(pictures, lungs), max(1, round(0.03 * size))
    for picture, mask, seen in zip(pictures, lungs, left, strict=True):
        distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        assert not seen[distance <= margin - 0.5].any()
        far = distance > margin + 1
        np.testing.assert_array_equal(seen[far], picture[far])
    assert np.array_equal(left, lungs_out(np.where(lungs, np.uint8(7), pictures), lungs))


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_lungs_alone_and_the_rest_make_up_the_picture(seed: int, size: int) -> None:
    pictures, lungs = drawn(seed, size)
    np.testing.assert_array_equal(lungs_alone(pictures, lungs) + lungs_alone(pictures, ~lungs), pictures)
    assert not lungs_alone(pictures, lungs)[~lungs].any()


def test_the_outline_knows_no_pixel() -> None:
    pictures, lungs = drawn(0, 40)
    np.testing.assert_array_equal(lung_outline(pictures, lungs), lung_outline(255 - pictures, lungs))
    np.testing.assert_array_equal(lung_outline(pictures, lungs) == 255, lungs)


@pytest.mark.parametrize(
    ("probe", "expected"), [(lungs_out, "all"), (lungs_alone, "none"), (lung_outline, "none"), (border, "some")]
)
def test_where_no_lungs_are_found_nothing_breaks(probe: Callable[[Pictures, Lungs], Pictures], expected: str) -> None:
    pictures, lungs = drawn(0, 24)
    left = probe(pictures, np.zeros_like(lungs))
    kept = float((left > 0).mean())
    assert {"all": kept == 1, "none": kept == 0, "some": 0 < kept < 1}[expected]
