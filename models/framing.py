"""A picture as shown to the square that a model reads: border crop, resize, contrast stretch, letterbox."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.geometry import Geometry
from models.spec import PreprocessSpec


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
    top, bottom = _margins(_deviation(shown, 1), border_std, max_share)
    left, right = _margins(_deviation(shown, 0), border_std, max_share)
    rows, columns = shown.shape
    return Crop(top, left, rows - top - bottom, columns - left - right)


def _deviation(shown: NDArray[np.uint8], axis: int) -> NDArray[np.float64]:
    """Standard deviation along an axis: of each row for 1, of each column for 0."""
    count = shown.shape[axis]
    total = cv2.reduce(shown, axis, cv2.REDUCE_SUM, dtype=cv2.CV_64F).ravel()
    squares = cv2.reduce(shown, axis, cv2.REDUCE_SUM2, dtype=cv2.CV_64F).ravel()
    variance: NDArray[np.float64] = squares / count - (total / count) ** 2
    return np.sqrt(np.maximum(variance, 0.0))


def _margins(deviation: NDArray[np.float64], border_std: float, max_share: float) -> tuple[int, int]:
    content = np.flatnonzero(deviation >= border_std)
    if content.size == 0:
        return 0, 0
    most = int(len(deviation) * max_share)
    return min(int(content[0]), most), min(len(deviation) - 1 - int(content[-1]), most)


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
