"""How sure a figure is: percentile bootstrap by patient (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

Patients are drawn with replacement, all images of one together, since images of one patient are alike. They are drawn
apart among those who have an image with the finding and those who have none, so that every resample holds as many of
each as the data do: intervals are for the share of positives that the data have.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.metrics import FIGURES, Scored, figures

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
_CELLS: Final = 1 << 21
"""Weights that are worked on at a time: what the caches of a processor hold."""

Interval = tuple[float, float]


def intervals(
    scored: Scored,
    patients: NDArray[np.integer],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Interval | None]:
    """The interval of each figure.

    Args:
        scored: n images.
        patients: `[n]`, a number for each patient, in the order that `scored` was made from.
        seed: the same seed gives the same intervals.
        resamples: how many are drawn.
        level: share of the resamples that an interval holds.

    Returns:
        Lower and upper end by name. Resamples in which a figure has no value are left out; None where none has one,
        and where there are no images.
    """
    if not len(scored):
        return dict.fromkeys(FIGURES)
    parts = [figures(scored, weights) for weights in _weightings(scored, patients[scored.order], seed, resamples)]
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in FIGURES}
    return {name: _interval(values, level) for name, values in drawn.items()}


def share_interval(
    right: NDArray[np.bool_], patients: NDArray[np.integer], seed: int, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval | None:
    """The interval of the share of `[n]` that is true, by the same means; without strata."""
    if not len(right):
        return None
    rng = np.random.default_rng(seed)
    _, patient = np.unique(patients, return_inverse=True)
    strata = np.zeros(int(patient.max()) + 1, np.intp)
    shares = [
        (weights @ right) / weights.sum(axis=1)
        for weights in (_drawn(rng, patient, strata, count) for count in _chunks(resamples, len(right)))
    ]
    return _interval(np.concatenate(shares), level)


def _weightings(
    scored: Scored, patients: NDArray[np.integer], seed: int, resamples: int
) -> Iterator[NDArray[np.float32]]:
    """How often each image is drawn, `[b, n]` for some resamples at a time."""
    rng = np.random.default_rng(seed)
    _, patient = np.unique(patients, return_inverse=True)
    strata = np.zeros(int(patient.max()) + 1, np.intp)
    strata[patient[scored.true]] = 1
    for count in _chunks(resamples, len(scored)):
        yield _drawn(rng, patient, strata, count)


def _chunks(resamples: int, images: int) -> Iterator[int]:
    step = max(1, _CELLS // images)
    return (min(step, resamples - first) for first in range(0, resamples, step))


def _drawn(
    rng: np.random.Generator, patient: NDArray[np.intp], strata: NDArray[np.intp], count: int
) -> NDArray[np.float32]:
    drawn = np.zeros((count, len(strata)), np.float32)
    for stratum in np.unique(strata):
        (members,) = np.nonzero(strata == stratum)
        places = rng.integers(0, len(members), (count, len(members)))
        places += np.arange(count)[:, None] * len(members)
        drawn[:, members] = np.bincount(places.ravel(), minlength=count * len(members)).reshape(count, -1)
    return drawn[:, patient]


def _interval(values: NDArray[np.float64], level: float) -> Interval | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def as_numbers(patients: Sequence[str | None]) -> NDArray[np.intp]:
    """A number for each image's patient, `[n]`; an unknown patient is one of that image alone."""
    known: dict[str, int] = {}
    numbers = [index if patient is None else known.setdefault(patient, index) for index, patient in enumerate(patients)]
    return np.array(numbers, np.intp)
