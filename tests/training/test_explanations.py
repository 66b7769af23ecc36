"""Tests of maps on maps that are known: of a network that sees the brightest place, and of one that sees nothing."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.prediction import Prediction
from training.explanations import SHARES, grow, inside_share, point, shrunk
from training.opacities import LUNG

SIZE, CELLS = 64, 8
LUNGS = np.zeros((SIZE, SIZE), np.float32)
LUNGS[10:54, 6:28] = LUNGS[10:54, 36:58] = 1.0
CHEST = np.where(LUNGS > 0, 60, 120).astype(np.uint8)
"""Dark lungs in tissue; an opacity is about as bright as the tissue."""


def chests(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([CHEST] * count), np.stack([LUNGS] * count)


def prediction(maps: np.ndarray) -> Prediction:
    count = len(maps)
    return Prediction(
        np.zeros((count, maps.shape[1]), np.float32),
        maps.astype(np.float32),
        np.zeros((count, 4), np.float32),
        np.stack([LUNGS] * count),
    )


def brightest(pictures: np.ndarray) -> Prediction:
    """How bright the lungs are in each cell is the map of the second finding; that of the first has nothing to say."""
    seen = shrunk(np.where(LUNGS > 0, pictures, 0).astype(np.float64), CELLS)
    return prediction(np.stack([np.zeros_like(seen), seen], axis=1))


def nothing(pictures: np.ndarray) -> Prediction:
    return prediction(np.ones((len(pictures), 2, CELLS, CELLS)))


def brightness(pictures: np.ndarray) -> Sequence[tuple[float, bool]]:
    """The share of the lungs that is brighter than lung is, and whether it is more than an eighth."""
    shares = [float((picture[LUNGS > 0] > 90).mean()) for picture in pictures]
    return [(share, share > 0.125) for share in shares]


def test_shares_inside_are_counted_by_mass() -> None:
    lungs = np.zeros((3, 4, 4))
    lungs[:, :, :2] = 1.0
    lungs[:, 0, 2] = LUNG  # a fourth of the upper right cell, at just the likelihood that counts
    lungs[:, 1, 2] = LUNG - 0.01
    maps = np.array([[[3.0, 0.0], [0.0, 1.0]], [[1.0, 4.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_allclose(inside_share(maps, lungs), [3 / 4, 3 / 8, np.nan])


@settings(max_examples=40, deadline=None)
@given(
    maps=arrays(np.float64, (2, 4, 4), elements=st.floats(0.01, 10)),
    lungs=arrays(np.float64, (2, 8, 8), elements=st.floats(0, 1)),
    scale=st.floats(0.1, 100),
)
def test_a_share_and_that_of_the_rest_are_all_at_any_scale(maps: np.ndarray, lungs: np.ndarray, scale: float) -> None:
    certain = (lungs >= LUNG).astype(np.float64)
    inside, outside = inside_share(maps, certain), inside_share(maps, 1 - certain)
    np.testing.assert_allclose(inside + outside, 1.0)
    np.testing.assert_allclose(inside_share(scale * maps, lungs), inside)


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (2, 12, 12), elements=st.floats(-5, 5)), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_shrinking_keeps_the_mean(values: np.ndarray, size: int) -> None:
    np.testing.assert_allclose(shrunk(values, size).mean(axis=(1, 2)), values.mean(axis=(1, 2)), atol=1e-9)


def test_a_cell_is_the_mean_of_its_place() -> None:
    values = np.arange(16, dtype=np.float64).reshape(1, 4, 4)
    np.testing.assert_array_equal(shrunk(values, 2), [[[2.5, 4.5], [10.5, 12.5]]])


def test_who_sees_the_brightest_place_points_at_what_was_painted() -> None:
    pointing = point(brightest, 1, *chests(6))
    assert pointing.images == 6
    assert pointing.hits == pointing.hits_nearby == 1.0
    assert pointing.chance == pytest.approx(0.15, abs=0.01)


def test_who_sees_nothing_hits_nothing() -> None:
    """A map that is even has its maximum in the first cell, where no lung is; so has that of the other finding."""
    for predict, finding in ((nothing, 1), (brightest, 0)):
        pointing = point(predict, finding, *chests(6))
        assert pointing.hits == pointing.hits_nearby == 0.0


@pytest.mark.parametrize("down", range(CELLS))
def test_what_lies_next_to_it_on_any_side_is_nearby_alone(down: int) -> None:
    """The lungs are painted all over: two by two cells, from the fourth on."""
    lungs = np.zeros((1, SIZE, SIZE), np.float32)
    lungs[:, 24:40, 24:40] = 1.0
    for across in range(CELLS):
        maps = np.zeros((1, 2, CELLS, CELLS))
        maps[0, 1, down, across] = 1.0
        found = point(lambda pictures, maps=maps: prediction(maps), 1, CHEST[None], lungs, share=1.0)
        assert found.hits == float({down, across} <= {3, 4})
        assert found.hits_nearby == float({down, across} <= {2, 3, 4, 5})


def test_who_sees_how_much_is_bright_grows_with_what_was_painted() -> None:
    growth = grow(brightness, *chests(4))
    assert growth.painted == SHARES
    assert growth.marked[0] == 0.0
    np.testing.assert_allclose(growth.marked, growth.painted, atol=0.06)
    assert growth.called == (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
    assert growth.rank_correlation == pytest.approx(1.0)


def test_who_sees_nothing_does_not_grow() -> None:
    growth = grow(lambda pictures: [(0.4, True)] * len(pictures), *chests(3), shares=(0.0, 0.3, 0.6))
    assert growth.rank_correlation == 0.0
    assert growth.marked == pytest.approx((0.4, 0.4, 0.4))
    assert growth.called == (1.0, 1.0, 1.0)


def test_who_says_the_reverse_shrinks_and_one_that_does_counts_as_one() -> None:
    def mixed(pictures: np.ndarray) -> Sequence[tuple[float, bool]]:
        (first, _), (second, present) = brightness(pictures)
        return [(first, False), (1.0 - second, present)]

    growth = grow(mixed, *chests(2), shares=(0.0, 0.3, 0.6))
    assert growth.rank_correlation == pytest.approx(0.0), "one follows, the other does the reverse"
    assert growth.called == (0.0, 0.5, 0.5)


@settings(max_examples=10, deadline=None)
@given(st.permutations([0.05, 0.1, 0.2, 0.7]))
def test_only_the_order_within_an_image_counts(marks: list[float]) -> None:
    """Spearman's correlation by its formula, 1 - 6 * sum(d ** 2) / (n * (n ** 2 - 1))."""
    steps = iter(marks)

    def told(pictures: np.ndarray) -> Sequence[tuple[float, bool]]:
        return [(next(steps), False)] * len(pictures)

    found = grow(told, *chests(2), shares=(0.0, 0.1, 0.2, 0.3)).rank_correlation
    ranks = np.argsort(np.argsort(marks))
    assert found == pytest.approx(1 - 6 * float(((ranks - np.arange(4)) ** 2).sum()) / (4 * 15))
