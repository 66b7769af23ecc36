"""Changes of a picture that change no finding: what a model must not be moved by.

Each stands for something in which hospitals, devices and exports differ. They are made on the picture as it arrives,
before preprocessing, and differ from the augmentation of training in how they are made.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""`[h, w]`, 0 black and 255 white."""


def framed(picture: Picture, share: float, level: int) -> Picture:
    """A border of one grey level around the picture, of a share of its edge on each side."""
    edge = round(share * max(picture.shape))
    return _u8(cv2.copyMakeBorder(picture, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(level,)))


def trimmed(picture: Picture, share: float) -> Picture:
    """The picture without a share of its edge on each side."""
    rows, columns = (round(share * edge) for edge in picture.shape)
    return np.ascontiguousarray(picture[rows : picture.shape[0] - rows, columns : picture.shape[1] - columns])


def stretched(picture: Picture, aspect: float) -> Picture:
    """Another width over height; black fills the square up."""
    rows, columns = picture.shape
    size = (columns, max(1, round(rows / aspect))) if aspect > 1 else (max(1, round(columns * aspect)), rows)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    top, left = (rows - small.shape[0]) // 2, (columns - small.shape[1]) // 2
    square = np.zeros_like(picture)
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


def toned(picture: Picture, gamma: float) -> Picture:
    """Another characteristic curve: mid-grey brighter below 1, darker above."""
    return _u8(cv2.LUT(picture, np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)))


def equalised(picture: Picture) -> Picture:
    """Contrast-limited adaptive equalisation, as some consoles apply (Zuiderveld, Graphics Gems IV, 1994)."""
    return _u8(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(picture))


def blurred(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur; sigma in pixels."""
    return _u8(cv2.GaussianBlur(picture, (0, 0), sigma))


def sharpened(picture: Picture, amount: float) -> Picture:
    """Unsharp masking with a radius of 2 pixels."""
    return _u8(cv2.addWeighted(picture, 1 + amount, cv2.GaussianBlur(picture, (0, 0), 2.0), -amount, 0))


def coarsened(picture: Picture, share: float) -> Picture:
    """Sent through a lower resolution."""
    rows, columns = (max(1, round(share * edge)) for edge in picture.shape)
    small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    return _u8(cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR))


def compressed(picture: Picture, quality: int) -> Picture:
    """Sent through JPEG of this quality."""
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return _u8(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))


def noisy(picture: Picture, deviation: float) -> Picture:
    """Gaussian noise, in grey levels; the same for the same picture."""
    seed = int(picture.sum(dtype=np.int64))
    noise = np.random.default_rng(seed).normal(0.0, deviation, picture.shape)
    return _u8(np.rint(np.clip(picture + noise, 0, 255)))


ATTACKS: Final[Mapping[str, Callable[[Picture], Picture]]] = {
    "none": lambda picture: picture,
    "black border": partial(framed, share=0.08, level=0),
    "white border": partial(framed, share=0.08, level=255),
    "trimmed": partial(trimmed, share=0.06),
    "wider": partial(stretched, aspect=1.35),
    "narrower": partial(stretched, aspect=0.75),
    "brighter": partial(toned, gamma=0.6),
    "darker": partial(toned, gamma=1.6),
    "equalised": equalised,
    "blurred": partial(blurred, sigma=1.2),
    "sharpened": partial(sharpened, amount=1.5),
    "half resolution": partial(coarsened, share=0.5),
    "JPEG quality 20": partial(compressed, quality=20),
    "noise": partial(noisy, deviation=10.0),
}


def _u8(picture: object) -> Picture:
    return np.asarray(picture, np.uint8)
