import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.lung_field import WHOLE, crop, lung_boxes, place, with_whole

PICTURES = np.random.default_rng(0).uniform(0, 1, (2, 64, 64)).astype(np.float32)


def lungs(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    found = np.zeros((1, 64, 64), np.float32)
    found[0, top:bottom, left:right] = 1.0
    return found


@settings(deadline=None, max_examples=30)
@given(
    rows=st.tuples(st.integers(0, 40), st.integers(12, 24)),
    columns=st.tuples(st.integers(0, 40), st.integers(12, 24)),
)
def test_a_box_holds_its_lungs(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    (top, height), (left, width) = rows, columns
    box = np.asarray(lung_boxes(lungs(top, left, top + height, left + width), tail=1e-3, margin=0.0))[0] * 64
    np.testing.assert_allclose(box, [top, left, top + height, left + width], atol=1e-3)
    roomy = np.asarray(lung_boxes(lungs(top, left, top + height, left + width)))[0] * 64
    assert (roomy[:2] < box[:2] + 0.5).all()
    assert (roomy[2:] > box[2:] - 0.5).all()


def test_a_stray_cell_moves_nothing() -> None:
    clean = lungs(20, 10, 50, 50)
    stray = clean.copy()
    stray[0, 2, 2] = 1.0
    np.testing.assert_allclose(lung_boxes(stray), lung_boxes(clean), atol=0.02)


def test_without_lungs_the_box_is_the_picture() -> None:
    np.testing.assert_array_equal(lung_boxes(np.zeros((1, 8, 8), np.float32))[0], WHOLE)


def test_the_whole_picture_at_its_size_is_itself() -> None:
    whole = jnp.tile(jnp.array(WHOLE), (2, 1))
    np.testing.assert_allclose(crop(PICTURES, whole, 64), PICTURES, atol=1e-5)
    np.testing.assert_allclose(crop(PICTURES, whole, 32).mean(), PICTURES.mean(), atol=5e-3)


def test_outside_the_picture_is_black() -> None:
    wide = jnp.array([[-0.5, 0.0, 0.5, 1.0]] * 2)
    cropped = np.asarray(crop(PICTURES, wide, 64))
    assert not cropped[:, :31].any()
    np.testing.assert_allclose(cropped[:, 32:], PICTURES[:, :32], atol=1e-5)


@pytest.mark.parametrize("box", [(0.25, 0.125, 0.75, 0.875), (0.1, 0.3, 0.6, 0.9)])
def test_a_map_is_laid_back_where_it_was_seen(box: tuple[float, ...]) -> None:
    spot = np.zeros((1, 64, 64), np.float32)
    spot[0, 30:34, 40:44] = 1.0
    boxes = jnp.array([box])
    back = np.asarray(place(crop(spot, boxes, 32)[:, None], boxes, 64))[0, 0]
    row, column = np.unravel_index(back.argmax(), back.shape)
    assert 29 <= row <= 34
    assert 39 <= column <= 44
    centre = (back.sum(axis=1) @ np.arange(64) / back.sum(), back.sum(axis=0) @ np.arange(64) / back.sum())
    np.testing.assert_allclose(centre, (31.5, 41.5), atol=0.6)


EDGE = 24


@settings(deadline=None, max_examples=25)
@given(top=st.integers(0, 64 - EDGE), left=st.integers(0, 64 - EDGE), seed=st.integers(0, 99))
def test_there_and_back_is_the_identity_inside_the_box_and_nothing_outside(top: int, left: int, seed: int) -> None:
    """At the resolution of the picture a crop is a slice of it, and placing puts the slice back."""
    picture = np.random.default_rng(seed).uniform(0, 1, (1, 64, 64)).astype(np.float32)
    boxes = jnp.array([[top, left, top + EDGE, left + EDGE]], jnp.float32) / 64
    inside = (slice(None), slice(top, top + EDGE), slice(left, left + EDGE))
    cropped = np.asarray(crop(picture, boxes, EDGE))
    np.testing.assert_allclose(cropped, picture[inside], atol=1e-4)
    expected = np.zeros_like(picture)
    expected[inside] = picture[inside]
    np.testing.assert_allclose(place(cropped[:, None], boxes, 64)[:, 0], expected, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(
    start=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    extent=st.tuples(st.floats(0.3, 0.6), st.floats(0.3, 0.6)),
    slope=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_a_ramp_comes_back_through_any_box(
    start: tuple[float, float], extent: tuple[float, float], slope: tuple[float, float]
) -> None:
    """Both ways are bilinear, so that what is linear comes back, but for the cells that the edges run through."""
    down, across = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5, indexing="ij")
    ramp = (2.0 + slope[0] * down / 64 + slope[1] * across / 64).astype(np.float32)[None]
    box = np.float32([*start, start[0] + extent[0], start[1] + extent[1]])
    back = np.asarray(place(crop(ramp, jnp.asarray(box[None]), 32)[:, None], jnp.asarray(box[None]), 64))[0, 0]
    # Half a cell of 32 from each edge, and one pixel.
    margin = (1.5 * (box[2:] - box[:2]).max() / 32 + 1 / 64) * 64
    inside = (down > box[0] * 64 + margin) & (down < box[2] * 64 - margin)
    inside &= (across > box[1] * 64 + margin) & (across < box[3] * 64 - margin)
    assert inside.any()
    np.testing.assert_allclose(back[inside], ramp[0][inside], atol=5e-3)
    outside = (down < box[0] * 64 - 2) | (down > box[2] * 64 + 2) | (across < box[1] * 64 - 2)
    assert not back[outside | (across > box[3] * 64 + 2)].any()


@settings(deadline=None, max_examples=40)
@given(arrays(np.float32, (2, 16, 16), elements=st.floats(0, 1, width=32)), st.floats(0, 0.5))
def test_boxes_never_leave_the_picture_and_are_never_empty(found: np.ndarray, margin: float) -> None:
    boxes = np.asarray(lung_boxes(found, margin=margin))
    assert ((boxes >= 0.0) & (boxes <= 1.0)).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1 / 16 - 1e-6).all()


def test_a_margin_is_cut_off_at_the_edge() -> None:
    (box,) = np.asarray(lung_boxes(lungs(0, 16, 32, 64), tail=1e-3, margin=0.25))
    np.testing.assert_allclose(box, [0.0, 0.25 - 0.1875, 0.5 + 0.125, 1.0], atol=1e-3)


def test_both_views_are_all_fields_and_then_all_wholes() -> None:
    boxes = jnp.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], WHOLE])
    both = np.asarray(with_whole(boxes))
    np.testing.assert_array_equal(both[:3], boxes)
    np.testing.assert_array_equal(both[3:], [WHOLE] * 3)


@pytest.mark.parametrize(("cells", "size"), [(8, 24), (10, 28), (4, 32)])
def test_a_coarse_map_is_as_strong_at_its_edges_as_within(cells: int, size: int) -> None:
    even = np.ones((1, 1, cells, cells), np.float32)
    np.testing.assert_allclose(place(even, jnp.array([WHOLE]), size), 1.0, atol=1e-5)
    half = np.asarray(place(even, jnp.array([[0.0, 0.25, 0.5, 0.75]]), size))[0, 0]
    rows, columns = np.nonzero(half > 0.99)
    assert set(np.unique(half.round(5))) == {0.0, 1.0}
    assert (rows.max() + 1, columns.min(), columns.max() + 1) == (size // 2, size // 4, size - size // 4)
