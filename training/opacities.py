"""Opacities painted into lungs: the one kind of finding whose place and extent are known exactly.

Used to test explanations (does the map point at what was painted?) and severity (does it grow with what was painted?),
never to train. An opacity is a patch of airspace filled with fluid: brighter than aerated lung, about as bright as
the heart, with soft irregular edges, and the vessels under it lost (Hansell et al., Fleischner Society: Glossary of
Terms for Thoracic Imaging, Radiology 246, 2008: "consolidation").
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

LUNG = 0.5
"""From which likelihood a place counts as lung."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A picture with an opacity.

    Attributes:
        picture: uint8 `[h, w]`.
        region: bool `[h, w]`, where the opacity takes at least half of what was there.
    """

    picture: NDArray[np.uint8]
    region: NDArray[np.bool_]


def paint(
    picture: NDArray[np.uint8], lungs: NDArray[np.floating], share: float, seed: int, density: float = 0.85
) -> Painted:
    """Paint one opacity into the lungs.

    Args:
        picture: uint8 `[h, w]`.
        lungs: `[h, w]`, how likely each place is lung, 0 to 1.
        share: of the lungs that the opacity covers, 0 to 1.
        seed: of its place and shape; the same seed with a larger share grows the same opacity.
        density: how much of what was there it hides, 0 to 1.

    Raises:
        ValueError: there are no lungs.
    """
    inside = lungs >= LUNG
    if not inside.any():
        raise ValueError("an opacity needs lungs")
    rng = np.random.default_rng(seed)
    nearness = _nearness(inside, rng)
    region = np.zeros_like(inside)
    count = round(share * int(inside.sum()))
    if count == 0:
        return Painted(picture.copy(), region)
    edge = np.sort(nearness[inside])[-count]
    region = inside & (nearness >= edge)
    softness = max(1.0, picture.shape[0] / 75)
    cover = density * cv2.GaussianBlur(region.astype(np.float32), (0, 0), softness)
    fluid = _fluid(picture, inside, rng)
    mixed = (1.0 - cover) * picture + cover * np.maximum(fluid, picture)
    return Painted(np.rint(np.clip(mixed, 0, 255)).astype(np.uint8), region)


def _nearness(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """How soon each place of the lungs is reached by a patch that grows from a random place with ragged edges."""
    rows, columns = np.nonzero(inside)
    start = rng.integers(len(rows))
    height, width = inside.shape
    down, across = np.ogrid[:height, :width]
    distance = np.hypot((down - rows[start]) / height, (across - columns[start]) / width)
    return np.asarray(-distance + 0.04 * _smooth_noise(inside.shape, rng, 10), np.float64)


def _fluid(picture: NDArray[np.uint8], inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Grey levels of filled lung: about those of the soft tissue around the lungs, a little uneven."""
    around = cv2.dilate(inside.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool) & ~inside
    tissue = float(np.percentile(picture[around], 60)) if around.any() else 180.0
    return np.asarray(tissue + 6.0 * _smooth_noise(inside.shape, rng, 6), np.float64)


def _smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Noise of unit deviation that varies over about a `cells`-th of the picture."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)
