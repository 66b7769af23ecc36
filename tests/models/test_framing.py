from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from models.decoding import DecodedImage
from models.framing import find_content
from models.pixels import PixelError, raster_to_model_input, to_model_input
from models.spec import PreprocessSpec

NOISE = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 300), columns=st.integers(1, 300), aspect=st.floats(0.3, 3.0))
def test_any_image_fits_the_square(rows: int, columns: int, aspect: float) -> None:
    spec = PreprocessSpec(name="test", version=1, size=32)
    raster = np.random.default_rng(rows).integers(0, 256, (rows, columns), dtype=np.uint8)
    pixels, geometry = raster_to_model_input(raster, spec, aspect)
    assert pixels.shape == (32, 32)
    assert geometry.size == 32
    outside = np.ones((32, 32), bool)
    outside[
        geometry.pad_top : geometry.pad_top + geometry.resized_rows,
        geometry.pad_left : geometry.pad_left + geometry.resized_columns,
    ] = False
    assert not pixels[outside].any()


@pytest.mark.parametrize(("shape", "content"), [((200, 100), (64, 32)), ((50, 200), (16, 64)), ((80, 80), (64, 64))])
def test_proportions_are_kept_and_centred(spec: PreprocessSpec, shape: tuple, content: tuple) -> None:
    _, geometry = raster_to_model_input(NOISE[: shape[0], : shape[1]], spec)
    assert (geometry.resized_rows, geometry.resized_columns) == content
    assert (geometry.pad_top, geometry.pad_left) == ((64 - content[0]) // 2, (64 - content[1]) // 2)


def test_pixel_aspect_undoes_a_squeeze(spec: PreprocessSpec) -> None:
    _, geometry = raster_to_model_input(NOISE, spec, pixel_aspect=0.5)
    assert (geometry.resized_rows, geometry.resized_columns) == (32, 64)


@pytest.mark.parametrize(
    ("attributes", "rows"),
    [
        ({"PixelSpacing": [0.1, 0.2]}, 32),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 32),
        ({"PixelAspectRatio": [1, 2], "PixelSpacing": [0.2, 0.2]}, 32),
        ({"PixelSpacing": [0.0, 0.0]}, 64),
        ({"PixelSpacing": [0.1, 99.0]}, 64),
        ({"PixelSpacing": None}, 64),
        ({}, 64),
    ],
)
def test_pixels_that_are_not_square(spec: PreprocessSpec, attributes: dict, rows: int) -> None:
    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    _, geometry = to_model_input(DecodedImage(NOISE, header, "MONOCHROME2"), spec)
    assert geometry.resized_rows == rows


@settings(max_examples=40, deadline=None)
@given(
    top=st.integers(0, 50),
    bottom=st.integers(0, 50),
    left=st.integers(0, 50),
    right=st.integers(0, 50),
    level=st.integers(0, 255),
)
def test_a_uniform_border_is_cropped_exactly(top: int, bottom: int, left: int, right: int, level: int) -> None:
    shown = np.full((200 + top + bottom, 200 + left + right), level, np.uint8)
    shown[top : top + 200, left : left + 200] = NOISE
    crop = find_content(shown, border_std=3.0, max_share=0.3)
    assert (crop.top, crop.left, crop.rows, crop.columns) == (top, left, 200, 200)


def test_the_crop_is_bounded_and_a_blank_image_stays_whole() -> None:
    shown = np.zeros((100, 100), np.uint8)
    assert (find_content(shown, 3.0, 0.3).rows, find_content(shown, 3.0, 0.3).columns) == (100, 100)
    shown[95:, 95:] = NOISE[:5, :5]
    crop = find_content(shown, 3.0, 0.3)
    assert (crop.top, crop.left, crop.rows, crop.columns) == (30, 30, 70, 70)


@given(gain=st.floats(0.3, 1.0), offset=st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_brightness_and_contrast_are_taken_out(gain: float, offset: int) -> None:
    spec = PreprocessSpec(name="test", version=1, size=64)
    smooth = np.tile(np.linspace(0, 180, 200), (200, 1)).astype(np.uint8)
    plain, _ = raster_to_model_input(smooth, spec)
    changed, _ = raster_to_model_input(np.rint(smooth * gain + offset).astype(np.uint8), spec)
    assert np.abs(plain.astype(int) - changed).mean() < 4


def test_a_blank_image_stays_blank(spec: PreprocessSpec) -> None:
    nearly = np.full((100, 100), 120, np.uint8)
    nearly[::2] += 1
    pixels, _ = raster_to_model_input(nearly, spec)
    assert pixels.std() < 8


def test_rasters_of_every_kind_agree(spec: PreprocessSpec) -> None:
    grey, _ = raster_to_model_input(NOISE, spec)
    colour, _ = raster_to_model_input(np.repeat(NOISE[..., None], 3, axis=2), spec)
    deep, _ = raster_to_model_input(NOISE.astype(np.uint16) * 100 + 7, replace(spec, window_percentiles=(0.0, 100.0)))
    np.testing.assert_array_equal(grey, colour)
    assert np.abs(grey.astype(int) - deep).max() <= 1


@pytest.mark.parametrize(
    "raster", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)]
)
def test_other_arrays_are_refused(spec: PreprocessSpec, raster: np.ndarray) -> None:
    with pytest.raises(PixelError):
        raster_to_model_input(raster, spec)
