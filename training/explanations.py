"""Whether explanation maps can be trusted: do they lie in the lungs, point at opacities, and grow with them?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr  # type: ignore[import-untyped]

from models.prediction import Prediction
from training.opacities import LUNG, paint

Predict = Callable[[NDArray[np.uint8]], Prediction]
"""From `[n, size, size]` model inputs to what the network says of them."""

SHARES = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointing:
    """Where the maps of a finding have their maximum, in healthy lungs with one painted opacity each.

    Attributes:
        images: how many.
        share: of the lungs that was painted.
        hits: share of the maxima that lie in what was painted.
        hits_nearby: the same with one cell of the map around it.
        chance: share that would lie there if the maxima were spread evenly over the lungs.
    """

    images: int
    share: float
    hits: float
    hits_nearby: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How the marked share of the lungs follows the painted one.

    Attributes:
        painted: shares of the lungs that were painted, ascending, the first nothing.
        marked: mean share of the lungs that the map then marks, each.
        called: share of the images in which the finding is then present, each.
        rank_correlation: Spearman's, of painted and marked shares within an image, averaged over the images.
    """

    painted: tuple[float, ...]
    marked: tuple[float, ...]
    called: tuple[float, ...]
    rank_correlation: float


def inside_share(maps: NDArray[np.floating], lungs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of the mass of each of `[n, h, w]` maps that lies in lung, `[n]`; nan where a map is empty.

    Args:
        maps: never negative.
        lungs: `[n, k * h, k * w]`, 0 to 1; a cell counts by the share of it that is more likely lung than not.
    """
    inside = shrunk((lungs >= LUNG).astype(np.float64), maps.shape[1])
    mass = maps.sum(axis=(1, 2), dtype=np.float64)
    return np.asarray((maps * inside).sum(axis=(1, 2)) / np.where(mass > 0, mass, np.nan), np.float64)


def point(
    predict: Predict, finding: int, pictures: NDArray[np.uint8], lungs: NDArray[np.floating], share: float = 0.15
) -> Pointing:
    """Paint one opacity into each of `[n, size, size]` healthy model inputs and see where the map has its maximum.

    Args:
        predict: the network.
        finding: column of its outputs.
        pictures: model inputs without the finding.
        lungs: `[n, size, size]`, 0 to 1.
        share: of the lungs that is painted.
    """
    painted = [
        paint(picture, lung, share, seed) for seed, (picture, lung) in enumerate(zip(pictures, lungs, strict=True))
    ]
    maps = predict(np.stack([each.picture for each in painted])).maps[:, finding]
    regions = np.stack([each.region for each in painted])
    covered = shrunk(regions.astype(np.float64), maps.shape[1])
    top = maps.reshape(len(maps), -1).argmax(axis=1)
    hits = covered.reshape(len(maps), -1)[np.arange(len(maps)), top] >= 0.5
    near = _grown(covered >= 0.5).reshape(len(maps), -1)[np.arange(len(maps)), top]
    chance = regions.sum(axis=(1, 2)) / (lungs >= LUNG).sum(axis=(1, 2))
    return Pointing(
        images=len(maps),
        share=share,
        hits=float(hits.mean()),
        hits_nearby=float(near.mean()),
        chance=float(chance.mean()),
    )


def grow(
    judge: Callable[[NDArray[np.uint8]], Sequence[tuple[float, bool]]],
    pictures: NDArray[np.uint8],
    lungs: NDArray[np.floating],
    shares: Sequence[float] = SHARES,
) -> Growth:
    """Paint ever larger opacities into healthy model inputs `[n, size, size]` and see whether severity follows.

    Args:
        judge: gives, of each model input, the share of the lungs that is marked, and whether the finding is present.
        pictures: model inputs without the finding.
        lungs: `[n, size, size]`, 0 to 1.
        shares: of the lungs, ascending.
    """
    steps = []
    for share in shares:
        painted = [
            paint(picture, lung, share, seed).picture
            for seed, (picture, lung) in enumerate(zip(pictures, lungs, strict=True))
        ]
        steps.append(judge(np.stack(painted)))
    marked = np.array([[area for area, _ in step] for step in steps])
    called = np.array([[present for _, present in step] for step in steps])
    ranks = [_rank_correlation(np.asarray(shares), marked[:, image]) for image in range(marked.shape[1])]
    return Growth(
        painted=tuple(shares),
        marked=tuple(float(value) for value in marked.mean(axis=1)),
        called=tuple(float(value) for value in called.mean(axis=1)),
        rank_correlation=float(np.mean(ranks)),
    )


def shrunk(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Means over the cells of `[n, k * size, k * size]`, `[n, size, size]`."""
    count, edge, _ = values.shape
    cell = edge // size
    return np.asarray(values.reshape(count, size, cell, size, cell).mean(axis=(2, 4)))


def _grown(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A region `[n, h, w]` and the cells around it."""
    padded = np.pad(region, ((0, 0), (1, 1), (1, 1)))
    height, width = region.shape[1:]
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.asarray(np.any(shifted, axis=0))


def _rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Spearman's; 0 where one of them does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)
