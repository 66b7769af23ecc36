"""A picture as shown to the square that a model reads: border crop, resize, contrast stretch, letterbox."""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.geometry import Geometry
from models.spec import PreprocessSpec

_LINES_AT_A_TIME: Final = 32


@dataclass(frozen=True, slots=True)
class Crop:
    """A rectangle of whole pixels."""

    top: int
    left: int
    rows: int
    columns: int


def find_content(shown: NDArray[np.uint8], border_std: float, max_share: float) -> Crop:
    """Leave out uniform edges: collimator shutters, scan margins, flat exposure.

    From each side inwards, rows (columns) go as long as their standard deviation is below `border_std` grey
    levels, at most `max_share` of the height (width) per side. An image that is uniform throughout stays whole.
    """
    rows, columns = shown.shape
    top, bottom = _margins(shown, border_std, max_share)
    left, right = _margins(shown.T, border_std, max_share)
    return Crop(top, left, rows - top - bottom, columns - left - right)


def _margins(lines: NDArray[np.uint8], border_std: float, max_share: float) -> tuple[int, int]:
    """How many of the first and of the last lines go."""
    most = int(len(lines) * max_share)
    first = _first_content(lines, border_std)
    if first is None:
        return 0, 0
    last = _first_content(lines[::-1], border_std) or 0
    return min(first, most), min(last, most)


def _first_content(lines: NDArray[np.uint8], border_std: float) -> int | None:
    """The first line that is no border, some lines at a time: as a rule it is among the first ones."""
    for top in range(0, len(lines), _LINES_AT_A_TIME):
        some = lines[top : top + _LINES_AT_A_TIME]
        content = np.flatnonzero(_deviation(np.ascontiguousarray(some)) >= border_std)
        if content.size:
            return top + int(content[0])
    return None


def _deviation(lines: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Standard deviation of each line."""
    count = lines.shape[1]
    total = cv2.reduce(lines, 1, cv2.REDUCE_SUM, dtype=cv2.CV_64F).ravel()
    squares = cv2.reduce(lines, 1, cv2.REDUCE_SUM2, dtype=cv2.CV_64F).ravel()
    variance: NDArray[np.float64] = squares / count - (total / count) ** 2
    return np.sqrt(np.maximum(variance, 0.0))


def frame(shown: NDArray[np.uint8], spec: PreprocessSpec, pixel_aspect: float) -> tuple[NDArray[np.uint8], Geometry]:
    """Crop, resize and letterbox `[rows, columns]` into `[spec.size, spec.size]`.

    Args:
        shown: grey levels as displayed.
        spec: the recipe.
        pixel_aspect: height of a pixel over its width (the Pixel Aspect Ratio of PS3.3 C.7.6.3.1.7).
    """
    crop = find_content(shown, spec.border_std, spec.border_max_share)
    height, width = crop.rows * pixel_aspect, float(crop.columns)
    scale = spec.size / max(height, width)
    rows, columns = (max(1, min(spec.size, round(edge * scale))) for edge in (height, width))
    geometry = Geometry(
        original_rows=shown.shape[0],
        original_columns=shown.shape[1],
        crop_top=crop.top,
        crop_left=crop.left,
        crop_rows=crop.rows,
        crop_columns=crop.columns,
        resized_rows=rows,
        resized_columns=columns,
        pad_top=(spec.size - rows) // 2,
        pad_left=(spec.size - columns) // 2,
    )
    kept = shown[crop.top : crop.top + crop.rows, crop.left : crop.left + crop.columns]
    shrinks = rows <= crop.rows and columns <= crop.columns
    # Area averaging is the anti-aliased way down; on the way up OpenCV's would be blocks.
    resized = cv2.resize(kept, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    square = np.zeros((spec.size, spec.size), np.uint8)
    square[geometry.pad_top : geometry.pad_top + rows, geometry.pad_left : geometry.pad_left + columns] = _stretch(
        resized, spec
    )
    return square, geometry


def _stretch(content: NDArray[Any], spec: PreprocessSpec) -> NDArray[np.uint8]:
    low, high = np.percentile(content, spec.stretch_percentiles)
    span = max(float(high - low), spec.stretch_min_range)
    stretched: NDArray[np.float64] = (content - low) * (255.0 / span)
    return np.rint(np.clip(stretched, 0.0, 255.0)).astype(np.uint8)
