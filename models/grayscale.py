"""Stored values to what a radiologist is shown: the grayscale pipeline of PS3.4 N.2.1 at eight bits.

Modality LUT (PS3.3 C.11.1), then VOI LUT (C.11.2), then the sense of MONOCHROME1; colour becomes luminance.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from models.decoding import DecodedImage, PixelError, PixelErrorCode

#: Luminance of R, G and B, as in YBR_FULL (PS3.3 C.7.6.3.1.2, after ITU-R BT.601).
_LUMINANCE: Final = np.array([0.2990, 0.5870, 0.1140])
_MONOCHROME: Final = ("MONOCHROME1", "MONOCHROME2")
_STRIP_PIXELS: Final = 1 << 20

Values = NDArray[np.float64]
Curve = Callable[[Values], Values]


def render(image: DecodedImage, window_percentiles: tuple[float, float]) -> NDArray[np.uint8]:
    """Show an image at full resolution, `[rows, columns]`, 0 black and 255 white.

    `window_percentiles` of the modality values become black and white where the object brings no VOI
    transformation. Pixel padding (C.7.5.1.1.2) takes no part in them and is shown black.

    Raises:
        PixelError: UNSUPPORTED for a photometric interpretation or table that cannot be shown.
        MemoryError: the object takes more memory than the process may have.
    """
    try:
        if image.photometric in _MONOCHROME:
            return _render_monochrome(image, window_percentiles)
        return _render_colour(image)
    except (PixelError, MemoryError):
        raise
    except Exception as error:  # tables and windows come from the wire and break in every way
        raise PixelError(
            PixelErrorCode.INVALID_ATTRIBUTE,
            f"the look-up tables or window cannot be applied ({type(error).__name__})",
        ) from error


def _render_colour(image: DecodedImage) -> NDArray[np.uint8]:
    if image.photometric == "PALETTE COLOR":
        return _render_palette(image)
    if image.photometric != "RGB":
        raise PixelError(
            PixelErrorCode.UNSUPPORTED,
            "this Photometric Interpretation cannot be shown, only monochrome, palette colour, RGB and YBR",
        )
    if image.pixels.ndim != 3:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, "a colour image has three samples per pixel")
    white = 2.0 ** int(image.header.BitsStored) - 1
    return _by_strips(lambda strip: _luminance(strip, white), image.pixels)


def _render_palette(image: DecodedImage) -> NDArray[np.uint8]:
    if image.pixels.ndim != 2:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, "a palette colour image has one sample per pixel")

    def colour(stored: NDArray[Any]) -> NDArray[Any]:
        return apply_color_lut(stored, image.header)

    # Entries may fill fewer bits than their container (C.7.6.3.1.5), and some objects misstate how many.
    fits_a_byte = all(part.dtype.itemsize == 1 or part.max() < 256 for part in map(colour, _strips(image.pixels)))
    white = 255.0 if fits_a_byte else 65535.0
    return _by_strips(lambda strip: _luminance(colour(strip), white), image.pixels)


def _luminance(colours: NDArray[Any], white: float) -> NDArray[np.uint8]:
    return _to_bytes(colours[..., :3] @ _LUMINANCE / white)


def _render_monochrome(image: DecodedImage, window_percentiles: tuple[float, float]) -> NDArray[np.uint8]:
    if image.pixels.ndim != 2:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, "a monochrome image has one sample per pixel")
    pixels = image.pixels
    padding = _padding(image.header, pixels)
    modality = _modality_curve(image.header)
    voi = _voi_curve(image.header)
    if voi is None:
        voi = _percentile_window(modality(_sample(pixels, padding)), window_percentiles)

    def show(stored: NDArray[Any]) -> NDArray[np.uint8]:
        shown = np.nan_to_num(voi(modality(stored.astype(np.float64))))
        # DX repeats the inversion as Presentation LUT Shape INVERSE (C.11.6); it must be done once.
        shown = 1.0 - shown if image.photometric == "MONOCHROME1" else shown
        if padding is not None:
            shown = np.where((stored >= padding[0]) & (stored <= padding[1]), 0.0, shown)
        return _to_bytes(shown)

    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2:
        return _by_table(show, pixels)
    return _by_strips(show, pixels)


def _by_table(show: Callable[[NDArray[Any]], NDArray[np.uint8]], pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Work the curve out once for each value that occurs, not once for each pixel."""
    low, high = int(pixels.min()), int(pixels.max())
    table = show(np.arange(low, high + 1))
    return _by_strips(lambda strip: table[strip.astype(np.intp) - low], pixels)


def _by_strips(show: Callable[[NDArray[Any]], NDArray[np.uint8]], pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Show `[rows, columns, ...]` some rows at a time: values on the way take eight bytes each, results one."""
    return np.concatenate([show(strip) for strip in _strips(pixels)])


def _strips(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    return (pixels[top : top + rows] for top in range(0, len(pixels), rows))


def _to_bytes(shown: Values) -> NDArray[np.uint8]:
    return np.rint(np.clip(shown, 0.0, 1.0) * 255.0).astype(np.uint8)


def _padding(header: Dataset, pixels: NDArray[Any]) -> tuple[float, float] | None:
    """Least and greatest stored value that is padding, or None."""
    value = header.get("PixelPaddingValue")
    if value is None or pixels.dtype.kind not in "iu":
        return None
    limit = header.get("PixelPaddingRangeLimit")
    ends = [_as_stored(int(value), pixels.dtype), _as_stored(int(limit if limit is not None else value), pixels.dtype)]
    return float(min(ends)), float(max(ends))


def _as_stored(value: int, dtype: np.dtype[Any]) -> int:
    """Read a value written with the other sign convention: US and SS share their 16 bits."""
    if dtype.kind == "i" and value >= 2**15 and dtype.itemsize == 2:
        return value - 2**16
    return value + 2**16 if dtype.kind == "u" and value < 0 else value


def _sample(pixels: NDArray[Any], padding: tuple[float, float] | None) -> Values:
    """About a million finite stored values that are no padding, for percentiles."""
    values = pixels.ravel()[:: max(1, pixels.size // 1_000_000)].astype(np.float64)
    kept = np.isfinite(values)
    if padding is not None:
        kept &= (values < padding[0]) | (values > padding[1])
    return values[kept] if kept.any() else np.zeros(1)


def _modality_curve(header: Dataset) -> Curve:
    """Stored values to modality values (C.11.1): a table, a slope and intercept, or nothing."""
    if header.get("ModalityLUTSequence"):
        return _table_curve(header.ModalityLUTSequence[0], header)[0]
    slope, intercept = _number(header, "RescaleSlope"), _number(header, "RescaleIntercept")
    if slope is None or intercept is None:
        return lambda values: values
    return lambda values: values * slope + intercept


def _voi_curve(header: Dataset) -> Curve | None:
    """Modality values to 0..1 by the first VOI LUT, else the first window; None when there is neither."""
    if header.get("VOILUTSequence"):
        table, white = _table_curve(header.VOILUTSequence[0], header)
        return lambda values: table(values) / white
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    if centre is None or width is None:
        return None
    return _window_curve(centre, width, str(header.get("VOILUTFunction") or "LINEAR").upper())


def _window_curve(centre: float, width: float, function: str) -> Curve | None:
    """A window as PS3.3 C.11.2.1.2 and C.11.2.1.3 define it; None for a width that the standard forbids."""
    if width <= 0 or (function == "LINEAR" and width < 1):
        return None
    if function == "SIGMOID":
        return lambda values: 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)))
    if function == "LINEAR_EXACT":
        return lambda values: (values - centre) / width + 0.5
    if function != "LINEAR":
        raise PixelError(PixelErrorCode.UNSUPPORTED, "VOI LUT Function is none of LINEAR, LINEAR_EXACT, SIGMOID")
    if width == 1:
        return lambda values: (values > centre - 0.5).astype(np.float64)
    return lambda values: (values - (centre - 0.5)) / (width - 1.0) + 0.5


def _percentile_window(values: Values, percentiles: tuple[float, float]) -> Curve:
    low, high = np.percentile(values, percentiles)
    span = float(high - low) or 1.0
    return lambda modality: (modality - low) / span


def _table_curve(item: Dataset, header: Dataset) -> tuple[Curve, float]:
    """A LUT of C.11.1.1 or C.11.2.1.1 as a curve, and the value that stands for white."""
    descriptor = [int(value) for value in item.LUTDescriptor]
    entries, first, bits = descriptor[0] or 2**16, descriptor[1], descriptor[2]
    table = _table_data(item, header, entries)
    white = max(2.0**bits - 1, float(table.max()))

    def curve(values: Values) -> Values:
        index: Values = np.clip(np.rint(values) - first, 0, len(table) - 1)
        return table[index.astype(np.int64)]

    return curve, white


def _table_data(item: Dataset, header: Dataset, entries: int) -> Values:
    data = item.LUTData
    if not isinstance(data, bytes):
        return np.asarray(data, np.float64)
    little = header.original_encoding[1] is not False
    # Eight-bit entries may be packed two to a word (C.11.1.1.1).
    sample = np.dtype(np.uint8) if len(data) < 2 * entries else np.dtype("<u2" if little else ">u2")
    return np.frombuffer(data, sample, count=entries).astype(np.float64)


def _number(header: Dataset, keyword: str) -> float | None:
    """First value of an attribute of value multiplicity 1-n as a finite number, or None."""
    value = header.get(keyword)
    if isinstance(value, (list, tuple)) or hasattr(value, "append"):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    number = float(value)
    return number if np.isfinite(number) else None
