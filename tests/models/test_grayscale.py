import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing
from pydicom.sequence import Sequence

from models.decoding import DecodedImage
from models.pixels import PixelError, PixelErrorCode, decode, to_display

MakeDicom = Callable[..., bytes]
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(pixels: np.ndarray, photometric: str = "MONOCHROME2", **attributes: object) -> np.ndarray:
    header = Dataset()
    header.PhotometricInterpretation = photometric
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.BitsStored = 12 if pixels.dtype == np.uint16 else pixels.dtype.itemsize * 8
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return to_display(DecodedImage(pixels=pixels, header=header, photometric=photometric))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    centre=st.integers(-500, 4500),
    width=st.integers(2, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_agree_with_pydicom(centre: int, width: int, function: str) -> None:
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsStored, header.PixelRepresentation = 12, 0
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = centre, width, function
    reference = apply_windowing(RAMP, header) / 4095 * 255
    ours = shown(RAMP, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
    assert np.abs(ours - reference).max() <= 0.51


def test_monochrome1_is_the_negative() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    np.testing.assert_array_equal(shown(RAMP, "MONOCHROME1", **window), 255 - shown(RAMP, **window))


def test_the_inversion_is_done_once() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    twice = shown(RAMP, "MONOCHROME1", PresentationLUTShape="INVERSE", **window)
    np.testing.assert_array_equal(twice, shown(RAMP, "MONOCHROME1", **window))


def test_the_window_applies_after_rescale() -> None:
    rescaled = shown(RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=1000)
    plain = shown(RAMP * 2 - 1000.0, WindowCenter=0, WindowWidth=1000)
    np.testing.assert_array_equal(rescaled, plain)


def test_the_first_of_several_windows_counts() -> None:
    several = shown(RAMP, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    np.testing.assert_array_equal(several, shown(RAMP, WindowCenter=1000, WindowWidth=500))


def test_a_window_of_one_is_a_threshold() -> None:
    values = shown(RAMP, WindowCenter=100, WindowWidth=1).ravel()
    assert (values[:100] == 0).all()
    assert (values[100:] == 255).all()


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 5, "WindowWidth": 0}, {"WindowCenter": 5}])
def test_without_a_usable_window_percentiles_make_one(window: dict) -> None:
    values = shown(RAMP, **window).ravel()
    low, high = np.percentile(RAMP, (0.5, 99.5))
    expected = np.clip((RAMP.ravel() - low) / (high - low), 0, 1) * 255
    assert np.abs(values - expected).max() <= 1


def test_padding_is_black_and_outside_the_percentiles() -> None:
    padded = RAMP.copy()
    padded[:8] = 0
    alone = shown(padded[8:], "MONOCHROME1")
    values = shown(padded, "MONOCHROME1", PixelPaddingValue=0)
    assert (values[:8] == 0).all()
    assert np.abs(values[8:].astype(int) - alone).max() <= 1


def test_a_range_of_padding_and_the_other_sign_convention() -> None:
    pixels = np.linspace(-2000, 2000, 4096).astype(np.int16).reshape(64, 64)
    window = {"WindowCenter": 0, "WindowWidth": 4000}
    values = shown(pixels, PixelPaddingValue=63536, PixelPaddingRangeLimit=-1000, **window)
    assert (values[pixels <= -1000] == 0).all()
    np.testing.assert_array_equal(values[pixels > -1000], shown(pixels, **window)[pixels > -1000])


def lut(first: int, data: list[int] | bytes, bits: int, entries: int | None = None) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries or len(data), first, bits])
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return Sequence([item])


def test_voi_lut_goes_before_the_window_and_holds_its_ends() -> None:
    values = shown(
        np.array([[5, 10], [11, 99]], np.uint16),
        VOILUTSequence=lut(10, [0, 255], 8),
        WindowCenter=1,
        WindowWidth=2,
    )
    np.testing.assert_array_equal(values, [[0, 0], [255, 255]])


def test_modality_lut_with_negative_input() -> None:
    values = shown(
        np.array([[-2, -1], [0, 7]], np.int16),
        ModalityLUTSequence=lut(-2, [0, 100, 200], 8),
        WindowCenter=100.5,
        WindowWidth=201,
    )
    np.testing.assert_array_equal(values, np.rint(np.array([[0, 100], [200, 200]]) / 200 * 255))


@pytest.mark.parametrize("packed", [bytes([0, 85, 170, 255]), np.array([0, 85, 170, 255], "<u2").tobytes()])
def test_lut_data_as_bytes_in_either_packing(make_dicom: MakeDicom, packed: bytes) -> None:
    pixels = np.array([[0, 1], [2, 3]], np.uint8)
    image = decode(make_dicom(pixels, VOILUTSequence=lut(0, packed, 8, entries=4)))
    np.testing.assert_array_equal(to_display(image), pixels * 85)


def test_colour_becomes_luminance() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(shown(pixels, "RGB"), [[76, 150], [29, 255]])


def test_palette_colour_goes_through_its_tables() -> None:
    tables = {}
    for colour in ("Red", "Green", "Blue"):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, 8]
        tables[f"{colour}PaletteColorLookupTableData"] = bytes([0, 50, 100, 255])
    values = shown(np.array([[0, 1], [2, 3]], np.uint8), "PALETTE COLOR", **tables)
    np.testing.assert_array_equal(values, [[0, 50], [100, 255]])


def test_floats_that_are_not_finite_are_black() -> None:
    pixels = np.linspace(0, 1, 4096).reshape(64, 64)
    pixels[0, :3] = np.nan, np.inf, -np.inf
    values = shown(pixels)
    assert values[0, 0] == 0
    assert values[-1, -1] == 255


@pytest.mark.parametrize(
    ("attributes", "photometric", "code"),
    [
        ({"WindowCenter": 5, "WindowWidth": 5, "VOILUTFunction": "CUBIC"}, "MONOCHROME2", PixelErrorCode.UNSUPPORTED),
        ({}, "CMYK", PixelErrorCode.UNSUPPORTED),
        ({}, "RGB", PixelErrorCode.INVALID_ATTRIBUTE),
        ({"VOILUTSequence": Sequence([Dataset()])}, "MONOCHROME2", PixelErrorCode.INVALID_ATTRIBUTE),
        ({}, "PALETTE COLOR", PixelErrorCode.INVALID_ATTRIBUTE),
    ],
)
def test_what_cannot_be_shown_is_an_error(attributes: dict, photometric: str, code: PixelErrorCode) -> None:
    with pytest.raises(PixelError) as caught:
        shown(RAMP, photometric, **attributes)
    assert caught.value.code is code


def test_an_error_does_not_quote_the_object() -> None:
    with pytest.raises(PixelError) as caught:
        shown(RAMP, "SMITHSON JANE")
    assert "SMITHSON" not in str(caught.value)


PALETTE = {
    f"{colour}PaletteColorLookupTable{part}": value
    for colour in ("Red", "Green", "Blue")
    for part, value in (("Descriptor", [256, 0, 16]), ("Data", np.arange(256, dtype="<u2").tobytes()))
}


@pytest.mark.parametrize(
    ("dtype", "samples", "photometric", "attributes"),
    [
        (np.uint8, 3, "RGB", {}),
        (np.uint8, 1, "PALETTE COLOR", PALETTE),
        (np.uint16, 1, "MONOCHROME2", {}),
        (np.int16, 1, "MONOCHROME1", {"RescaleSlope": 2, "RescaleIntercept": -7, "PixelPaddingValue": -3}),
        (np.float32, 1, "MONOCHROME2", {"WindowCenter": 0, "WindowWidth": 1e3}),
    ],
)
def test_strips_join_into_the_picture_and_bound_the_memory(
    monkeypatch: pytest.MonkeyPatch, dtype: type, samples: int, photometric: str, attributes: dict
) -> None:
    rng = np.random.default_rng(0)
    shape = (2000, 1500, 3) if samples == 3 else (2000, 1500)
    pixels = rng.integers(0, 255, shape).astype(dtype)
    monkeypatch.setattr("models.grayscale._STRIP_PIXELS", pixels.size)
    whole = shown(pixels, photometric, **attributes)
    monkeypatch.setattr("models.grayscale._STRIP_PIXELS", 7 * 1500)
    tracemalloc.start()
    strips = shown(pixels, photometric, **attributes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(strips, whole)
    assert peak < 5 * whole.size + 20_000_000  # percentiles look at a sample of fixed size
