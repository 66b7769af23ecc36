"""Pictures of which only a part is left: what a network shown that part alone finds out, the part gives away.

A label that can be told from the border or the histogram was told by where and how the picture was made, and a model
fitted to such data may read that in place of the lungs (Geirhos et al., Shortcut learning in deep neural networks,
Nature Machine Intelligence 2, 2020; DeGrave, Janizek and Lee, AI for radiographic COVID-19 detection selects shortcuts
over signal, Nature Machine Intelligence 3, 2021).
"""

from collections.abc import Callable, Mapping
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
"""`[n, size, size]`, 0 black and 255 white."""
Lungs = NDArray[np.bool_]
"""`[n, size, size]`, whether each place is lung."""
Probe = Callable[[Pictures, Lungs], Pictures]
"""From pictures and their lungs to what is left of the pictures; what is hidden is black, and the original is left."""

BORDER: Final = 0.08
"""Width of the border, as a share of the edge."""
CORNER: Final = 1 / 8
"""Edge of the squares in the corners, as a share of the picture's."""
MARGIN: Final = 0.03
"""By how much lungs are widened before they are hidden, as a share of the edge: masks are a little too small or off."""


def everything(pictures: Pictures, lungs: Lungs) -> Pictures:
    """The whole of it: what the others are to be held against."""
    return pictures


def border(pictures: Pictures, lungs: Lungs) -> Pictures:
    """A frame along the edges."""
    near = _near(pictures.shape[1], BORDER)
    return _kept(pictures, near[:, None] | near)


def corners(pictures: Pictures, lungs: Lungs) -> Pictures:
    """A square in each corner."""
    near = _near(pictures.shape[1], CORNER)
    return _kept(pictures, near[:, None] & near)


def histogram(pictures: Pictures, lungs: Lungs) -> Pictures:
    """Each picture's pixels from dark to light, row by row: how many there are of each grey level, and not where."""
    return np.sort(pictures.reshape(len(pictures), -1), axis=1).reshape(pictures.shape)


def lungs_out(pictures: Pictures, lungs: Lungs) -> Pictures:
    """All but the lungs and a margin around them; the shape of what is hidden still shows."""
    radius = _pixels(pictures.shape[1], MARGIN)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    hidden = np.zeros(lungs.shape, np.bool_)
    for row, mask in enumerate(lungs):
        hidden[row] = cv2.dilate(mask.astype(np.uint8), disc) > 0
    return _kept(pictures, ~hidden)


def lungs_alone(pictures: Pictures, lungs: Lungs) -> Pictures:
    """The lungs and nothing else."""
    return _kept(pictures, lungs)


def lung_outline(pictures: Pictures, lungs: Lungs) -> Pictures:
    """Where the lungs are, in white, and no pixel of the picture."""
    return np.where(lungs, np.uint8(255), np.uint8(0))


PROBES: Final[Mapping[str, Probe]] = {
    "everything": everything,
    "border": border,
    "corners": corners,
    "histogram": histogram,
    "lungs out": lungs_out,
    "lungs alone": lungs_alone,
    "lung outline": lung_outline,
}


def _kept(pictures: Pictures, where: NDArray[np.bool_]) -> Pictures:
    return np.where(where, pictures, np.uint8(0))


def _near(size: int, share: float) -> NDArray[np.bool_]:
    """Which of `[size]` rows (columns) are within a share of the edge from either end."""
    places = np.arange(size)
    return np.asarray(np.minimum(places, places[::-1]) < _pixels(size, share))


def _pixels(size: int, share: float) -> int:
    """A share of the edge in whole pixels, at least one."""
    return max(1, round(share * size))
