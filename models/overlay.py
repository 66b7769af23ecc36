"""Pictures for people: the image, where the model looked, and what it says."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

LONG_EDGE = 1024
STRONGEST = 0.45
OUTLINE = (200, 190, 90)
LINE_HEIGHT = 30
MARGIN = 12


def overlay(
    display: NDArray[np.uint8],
    heat: NDArray[np.float32] | None,
    caption: Sequence[str],
    lungs: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Draws one picture.

    Args:
        display: `[rows, columns]`, 0 black and 255 white.
        heat: `[rows, columns]`, 0 to 1, in the image's own geometry; None where the model said nothing.
        caption: lines of text below the image; ASCII.
        lungs: `[rows, columns]`, 0 to 1, how likely each place is lung; outlined where it is more likely than not.

    Returns:
        uint8 `[h, w, 3]` in BGR, as `cv2.imwrite` takes it, with a long edge of 1024 pixels before the caption.
    """
    scale = LONG_EDGE / max(display.shape)
    size = (max(1, round(display.shape[1] * scale)), max(1, round(display.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.cvtColor(cv2.resize(display, size, interpolation=way), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    if heat is not None:
        picture = _heated(picture, cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR).astype(np.float32))
    if lungs is not None:
        _outline(picture, cv2.resize(lungs, size, interpolation=cv2.INTER_LINEAR).astype(np.float32))
    return np.vstack([picture, _caption(caption, picture.shape[1])]).astype(np.uint8)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """The picture as a PNG file."""
    return bytes(cv2.imencode(".png", picture)[1])


def _heated(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    colours = cv2.applyColorMap(np.rint(255 * np.clip(heat, 0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)
    weight = STRONGEST * np.clip(heat, 0, 1)[..., None]
    return np.rint((1 - weight) * picture + weight * colours).astype(np.uint8)


def _outline(picture: NDArray[np.uint8], lungs: NDArray[np.float32]) -> None:
    inside = (lungs >= 0.5).astype(np.uint8)
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, OUTLINE, 1, cv2.LINE_AA)


def _caption(lines: Sequence[str], width: int) -> NDArray[np.uint8]:
    strip = np.zeros((LINE_HEIGHT * len(lines) + 2 * MARGIN, width, 3), np.uint8)
    for index, line in enumerate(lines):
        scale, thickness = 0.65, 1
        (length, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        scale *= min(1.0, (width - 2 * MARGIN) / max(1, length))
        base = MARGIN + LINE_HEIGHT * index + 20
        cv2.putText(
            strip, line, (MARGIN, base), cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), thickness, cv2.LINE_AA
        )
    return strip
