"""The curves of an evaluation as short lists of points: ROC, precision and recall, reliability, threshold sweep."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.metrics import ECE_BINS, Scored, Values, bin_of

_MOST_POINTS: Final = 300
_HISTOGRAM_BINS: Final = 25
_Z: Final = 1.959964
"""The 97.5th percentile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Some images with about the same probability.

    Attributes:
        images: how many.
        mean: probability on average.
        share: of them that have the finding.
        low: end of the 95% interval of the share (Wilson, J. American Statistical Association 22, 1927).
        high: its other end.
    """

    images: int
    mean: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curves:
    """The curves of one finding; points are pairs, thinned where there are more than can be seen.

    Attributes:
        roc: false positive rate and true positive rate, from (0, 0) to (1, 1).
        precision_recall: recall and precision, from the highest score down.
        reliability: bins of the expected calibration error that hold images, ascending.
        sweep: threshold, sensitivity, specificity and accuracy, ascending.
        histogram: images without and with the finding in each of 25 bins over 0..1.
    """

    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]
    reliability: tuple[Bin, ...]
    sweep: tuple[tuple[float, float, float, float], ...]
    histogram: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """All curves as JSON values."""
        return {
            "roc": {"fpr": [x for x, _ in self.roc], "tpr": [y for _, y in self.roc]},
            "precision_recall": {
                "recall": [x for x, _ in self.precision_recall],
                "precision": [y for _, y in self.precision_recall],
            },
            "reliability": [
                {"images": b.images, "mean": b.mean, "share": b.share, "interval": [b.low, b.high]}
                for b in self.reliability
            ],
            "sweep": [
                {"threshold": at, "recall": found, "specificity": cleared, "accuracy": right}
                for at, found, cleared, right in self.sweep
            ],
            "histogram": {"absent": [a for a, _ in self.histogram], "present": [p for _, p in self.histogram]},
        }


def curves(scored: Scored) -> Curves:
    """All curves; those that need both classes are empty where one is missing."""
    both = bool(scored.true.any()) and not scored.true.all()
    return Curves(
        roc=_roc(*_counts_from_the_top(scored)) if both else (),
        precision_recall=_precision_recall(*_counts_from_the_top(scored)) if both else (),
        reliability=_reliability(scored),
        sweep=_sweep(scored) if both else (),
        histogram=_histogram(scored),
    )


def _counts_from_the_top(scored: Scored) -> tuple[Values, Values]:
    """True and false positives for each threshold at a different score, from the highest down."""
    scores, true = scored.scores[::-1], scored.true[::-1]
    last = np.flatnonzero(np.append(np.diff(scores) < 0, True))
    found, alarms = np.cumsum(true), np.cumsum(~true)
    return found[last].astype(np.float64), alarms[last].astype(np.float64)


def _roc(found: Values, alarms: Values) -> tuple[tuple[float, float], ...]:
    x = np.concatenate([[0.0], alarms / alarms[-1]])
    y = np.concatenate([[0.0], found / found[-1]])
    # A point on the straight line between its neighbours adds nothing to see.
    right, up = np.diff(x), np.diff(y)
    bends = ~np.isclose(right[1:] * up[:-1], right[:-1] * up[1:], atol=1e-12)
    kept = np.concatenate([[True], bends, [True]])
    return _pairs(x[kept], y[kept])


def _precision_recall(found: Values, alarms: Values) -> tuple[tuple[float, float], ...]:
    return _pairs(found / found[-1], found / (found + alarms))


def _pairs(x: Values, y: Values) -> tuple[tuple[float, float], ...]:
    kept = _thinned(len(x))
    return tuple(zip(x[kept].tolist(), y[kept].tolist(), strict=True))


def _thinned(count: int) -> NDArray[np.intp]:
    """Which of so many points to keep, the ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(np.intp))


def _reliability(scored: Scored) -> tuple[Bin, ...]:
    bins = bin_of(scored.scores)
    found = []
    for number in range(ECE_BINS):
        member = bins == number
        if count := int(member.sum()):
            share = float(scored.true[member].mean())
            low, high = _wilson(share, count)
            found.append(Bin(count, float(scored.scores[member].mean()), share, low, high))
    return tuple(found)


def _wilson(share: float, count: int) -> tuple[float, float]:
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    reach = _Z / (1 + _Z**2 / count) * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))


def _sweep(scored: Scored) -> tuple[tuple[float, float, float, float], ...]:
    thresholds = np.linspace(0.0, 1.0, 101)
    positives, negatives = scored.scores[scored.true], scored.scores[~scored.true]
    found = len(positives) - np.searchsorted(positives, thresholds)
    cleared = np.searchsorted(negatives, thresholds)
    columns = (thresholds, found / len(positives), cleared / len(negatives), (found + cleared) / len(scored))
    return tuple(zip(*(column.tolist() for column in columns), strict=True))


def _histogram(scored: Scored) -> tuple[tuple[int, int], ...]:
    absent, present = (
        np.histogram(scored.scores[chosen], _HISTOGRAM_BINS, (0.0, 1.0))[0] for chosen in (~scored.true, scored.true)
    )
    return tuple(zip(absent.tolist(), present.tolist(), strict=True))
