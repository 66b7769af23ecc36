from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.geometry import Geometry

GEOMETRY = Geometry(
    original_rows=200,
    original_columns=300,
    crop_top=20,
    crop_left=30,
    crop_rows=120,
    crop_columns=240,
    resized_rows=32,
    resized_columns=64,
    pad_top=16,
    pad_left=0,
)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    rows, columns = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    crop_rows, crop_columns = draw(st.integers(1, rows)), draw(st.integers(1, columns))
    size, shorter = 32, draw(st.integers(1, 32))
    resized = draw(st.sampled_from([(size, shorter), (shorter, size)]))
    return Geometry(
        original_rows=rows,
        original_columns=columns,
        crop_top=draw(st.integers(0, rows - crop_rows)),
        crop_left=draw(st.integers(0, columns - crop_columns)),
        crop_rows=crop_rows,
        crop_columns=crop_columns,
        resized_rows=resized[0],
        resized_columns=resized[1],
        pad_top=(size - resized[0]) // 2,
        pad_left=(size - resized[1]) // 2,
    )


@given(geometry=geometries(), cells=st.integers(1, 40))
def test_a_constant_map_fills_the_crop_and_nothing_else(geometry: Geometry, cells: int) -> None:
    original = geometry.to_original(np.full((cells, cells + 1), 3.0))
    assert original.shape == (geometry.original_rows, geometry.original_columns)
    assert original.dtype == np.float32
    inside = np.zeros_like(original)
    inside[
        geometry.crop_top : geometry.crop_top + geometry.crop_rows,
        geometry.crop_left : geometry.crop_left + geometry.crop_columns,
    ] = 3.0
    np.testing.assert_allclose(original, inside)


@given(geometry=geometries())
def test_a_mask_of_the_crop_fills_its_place_in_the_square(geometry: Geometry) -> None:
    mask = np.zeros((geometry.original_rows, geometry.original_columns), np.uint8)
    mask[
        geometry.crop_top : geometry.crop_top + geometry.crop_rows,
        geometry.crop_left : geometry.crop_left + geometry.crop_columns,
    ] = 255
    square = geometry.to_square(mask)
    assert square.shape == (geometry.size, geometry.size)
    assert square.sum(dtype=np.int64) == 255 * geometry.resized_rows * geometry.resized_columns
    assert (square[geometry.pad_top : geometry.pad_top + geometry.resized_rows, geometry.pad_left] == 255).all()


@pytest.mark.parametrize("cells", [8, 64, 128])
def test_a_ramp_keeps_its_place_at_any_resolution(cells: int) -> None:
    # The value is the column in the square, in its pixels; the way back must give it as a function of the original.
    ramp = np.tile((np.arange(cells) + 0.5) * 64 / cells, (cells, 1))
    original = GEOMETRY.to_original(ramp)
    columns = np.arange(240)
    expected = (columns + 0.5) * 64 / 240
    inner = slice(30, -30)  # at the ends the map is held, not extrapolated
    np.testing.assert_allclose(original[80, 30:270][inner], expected[inner], atol=0.05)


def test_a_peak_comes_back_where_it_was() -> None:
    values = np.zeros((64, 64))
    values[16 + 8, 48] = 1.0
    row, column = np.unravel_index(GEOMETRY.to_original(values).argmax(), (200, 300))
    assert abs(row - (20 + 8.5 * 120 / 32)) <= 2
    assert abs(column - (30 + 48.5 * 240 / 64)) <= 2


def test_json_round_trip() -> None:
    assert Geometry.from_json(GEOMETRY.to_json()) == GEOMETRY


@pytest.mark.parametrize(
    "change", [{"crop_rows": 0}, {"crop_top": -1}, {"crop_left": 100}, {"pad_top": 40}, {"resized_columns": 0}]
)
def test_refuses_what_cannot_be(change: dict) -> None:
    with pytest.raises(ValueError):
        replace(GEOMETRY, **change)


def test_refuses_a_map_that_is_none() -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        GEOMETRY.to_original(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="two dimensions"):
        GEOMETRY.to_original(np.zeros((0, 2)))
