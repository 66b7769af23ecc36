"""A contact sheet: what training sees of a few images, to be looked at before hours are spent on it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import jax
import numpy as np
from numpy.typing import NDArray

from models.overlay import OUTLINE, encode_png
from training.augment import WHOLE, Augmentation, augment

_BOX = (80, 120, 255)
_INK = (235, 235, 235)
_LEAST_TILE, _GREATEST_TILE = 128, 160
_GAP = 6
_CAPTION = 20
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Images to draw views of.

    Attributes:
        images: uint8 `[n, h, w]`.
        masks: uint8 `[n, h', w']`, outlined; None without masks.
        boxes: float32 `[n, 4]`, what views are of; None for the whole picture.
        captions: of each image, ASCII; nothing that names a patient.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    boxes: NDArray[np.float32] | None
    captions: Sequence[str]


def contact_sheet(
    samples: Samples, config: Augmentation, size: int, draws: int = 7, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw a row for each image: the image with its box and its mask's outline, then several views with the mask's.

    Args:
        samples: the images.
        config: how far changes go; mixup is not shown.
        size: edge of a view in pixels.
        draws: views of each image.
        seed: of the views.

    Returns:
        uint8 `[rows, columns, 3]` in BGR, as `cv2.imwrite` takes it.
    """
    views = [
        augment(key, samples.images, config, masks=samples.masks, boxes=samples.boxes, size=size)
        for key in jax.random.split(jax.random.key(seed), draws)
    ]
    rows = [[_original(samples, index)] for index in range(len(samples.images))]
    for view in views:
        pictures = np.rint(255 * np.asarray(view.images)).astype(np.uint8)
        masks = None if view.masks is None else np.asarray(view.masks)
        for index, row in enumerate(rows):
            row.append(_outlined(pictures[index], None if masks is None else masks[index]))
    tile = min(max(_LEAST_TILE, size), _GREATEST_TILE)
    captions = [
        [samples.captions[index], *(f"view {draw}" for draw in range(1, draws + 1))] for index in range(len(rows))
    ]
    captioned = [list(zip(row, texts, strict=True)) for row, texts in zip(rows, captions, strict=True)]
    return tiled(captioned, describe(config, size), tile)


def tiled(rows: Sequence[Sequence[tuple[NDArray[np.uint8], str]]], title: str, tile: int) -> NDArray[np.uint8]:
    """Lay pictures out in rows under a title.

    Args:
        rows: as many in each, BGR pictures `[h, w, 3]` with a caption; ASCII, and nothing that names a patient.
        title: a line above all.
        tile: edge of a square that each picture is fitted into, in pixels.

    Returns:
        uint8 `[height, width, 3]` in BGR.
    """
    body = np.vstack([np.hstack([_tile(picture, caption, tile) for picture, caption in row]) for row in rows])
    return np.vstack([_title(title, body.shape[1]), body]).astype(np.uint8)


def write_contact_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a sheet as PNG; a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(encode_png(sheet))
    os.replace(fresh, path)


def describe(config: Augmentation, size: int) -> str:
    """The extents that are not 0, in a line."""
    extents = [f"{extent.name} {value:g}" for extent in fields(config) if (value := getattr(config, extent.name))]
    return f"{size} x {size} pixels; " + (", ".join(extents) or "no augmentation")


def _original(samples: Samples, index: int) -> NDArray[np.uint8]:
    picture = _outlined(samples.images[index], None if samples.masks is None else samples.masks[index] / 255.0)
    height, width = picture.shape[:2]
    box = WHOLE if samples.boxes is None else samples.boxes[index]
    top, left, bottom, right = (float(share) * edge for share, edge in zip(box, (height, width) * 2, strict=True))
    corners = ((round(left), round(top)), (round(right) - 1, round(bottom) - 1))
    cv2.rectangle(picture, *corners, _BOX, 1)
    return picture


def _outlined(picture: NDArray[np.uint8], mask: NDArray[np.floating] | None) -> NDArray[np.uint8]:
    """The picture in colour, with the line around where the mask is more than half."""
    coloured = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if mask is not None:
        fine = cv2.resize(mask.astype(np.float32), picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
        contours, _ = cv2.findContours((fine >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(coloured, contours, -1, OUTLINE, 1)
    return np.asarray(coloured, np.uint8)


def _tile(picture: NDArray[np.uint8], caption: str, edge: int) -> NDArray[np.uint8]:
    """A picture fitted into a square, with its caption below and a gap around."""
    scale = edge / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    fitted = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = np.zeros((edge + _CAPTION + _GAP, edge + _GAP, 3), np.uint8)
    tile[: size[1], : size[0]] = fitted
    _write(tile, caption, (2, edge + 14), edge, 0.42)
    return tile


def _title(text: str, width: int) -> NDArray[np.uint8]:
    strip = np.zeros((30, width, 3), np.uint8)
    _write(strip, text, (4, 20), width - 8, 0.5)
    return strip


def _write(picture: NDArray[np.uint8], text: str, at: tuple[int, int], width: int, scale: float) -> None:
    (length, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    fitted = scale * min(1.0, width / max(1, length))
    cv2.putText(picture, text, at, _FONT, fitted, _INK, 1, cv2.LINE_AA)
