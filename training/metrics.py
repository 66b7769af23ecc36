"""Figures of merit of a binary classifier, in plain numpy.

Every figure is worked out for many weightings of the same images at once, `[b, n]` weights to `[b]` values: a row of
ones gives the figure itself, rows that count how often each image was drawn give its bootstrap (`training.bootstrap`).
A figure whose denominator is 0 is nan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIGURES: Final = ("accuracy", "precision", "recall", "specificity", "f1", "auroc", "auprc", "ece", "brier")
"""Names of all figures, in the order in which they are shown."""
ECE_BINS: Final = 15
_COUNTS: Final = 5

Floats = NDArray[np.floating]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of a binary decision against the truth."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def accuracy(self) -> float:
        """Share of all that is right."""
        return _ratio(self.true_positive + self.true_negative, self.images)

    @property
    def precision(self) -> float:
        """Share of the called positives that are positive."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the positives that are called; sensitivity."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Share of the negatives that are not called."""
        return _ratio(self.true_negative, self.true_negative + self.false_positive)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)

    @property
    def images(self) -> int:
        """All that was counted."""
        return self.true_positive + self.false_positive + self.true_negative + self.false_negative


def confusion(scores: ArrayLike, labels: ArrayLike, threshold: float) -> Confusion:
    """Count decisions `score >= threshold` against labels of 0 and 1; both `[n]`."""
    called, true = np.asarray(scores) >= threshold, np.asarray(labels) > 0.5
    if called.shape != true.shape or called.ndim != 1:
        raise ValueError(f"scores {called.shape} and labels {true.shape} must be vectors of one length")
    return Confusion(
        int(np.sum(called & true)),
        int(np.sum(called & ~true)),
        int(np.sum(~called & ~true)),
        int(np.sum(~called & true)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What a classifier said of n images, and the truth; sorted by score.

    Attributes:
        scores: float64 `[n]`, ascending; probabilities of the finding.
        true: bool `[n]`, whether the image has the finding.
        called: bool `[n]`, whether the finding was called.
        order: `[n]`, where each stood in the vectors that it was made from.
    """

    scores: Values
    true: NDArray[np.bool_]
    called: NDArray[np.bool_]
    order: NDArray[np.intp]

    @classmethod
    def of(cls, scores: ArrayLike, labels: ArrayLike, called: ArrayLike) -> Self:
        """Sort by score.

        Raises:
            ValueError: scores, labels and calls are not vectors of one length, or a score is nan.
        """
        values, true, calls = np.asarray(scores, np.float64), np.asarray(labels) > 0.5, np.asarray(called, bool)
        if values.ndim != 1 or not values.shape == true.shape == calls.shape:
            raise ValueError(
                f"scores {values.shape}, labels {true.shape} and calls {calls.shape} are not of one length"
            )
        if np.isnan(values).any():
            raise ValueError("a score is nan")
        order = np.argsort(values, kind="stable")
        return cls(values[order], true[order], calls[order], order)

    def __len__(self) -> int:
        return len(self.scores)


def figures(scored: Scored, weights: Floats | None = None) -> dict[str, Values]:
    """All `FIGURES` of each weighting of the images.

    - AUROC is the chance that a positive scores above a negative, ties counting half: the Mann-Whitney U statistic
      (Hanley and McNeil, Radiology 143, 1982).
    - AUPRC is the average precision, the sum of precision over the steps of recall without interpolation (Davis and
      Goadrich, ICML 2006, on why a line between two points of the curve would be too good).
    - ECE is the mean distance, weighted by images, between the mean probability of the finding and the share that has
      it, over 15 bins of equal width that are open to the left (Guo et al., ICML 2017); a probability of 0 is in the
      first one.
    - Brier is the mean square of probability less truth (Brier, Monthly Weather Review 78, 1950).

    Args:
        scored: n images; for ECE and Brier their scores must be probabilities.
        weights: `[b, n]`, in the order of `scored`, how much each image counts; each once if None.

    Returns:
        `[b]` values by name.
    """
    rows = np.ones((1, len(scored))) if weights is None else weights
    sums = np.asarray(rows @ _columns(scored).astype(rows.dtype), np.float64)
    true_positive, false_positive, true_negative, false_negative, squares = sums[:, :_COUNTS].T
    images = true_positive + false_positive + true_negative + false_negative
    positives, negatives = _by_score(scored, rows)
    found = {
        "accuracy": _shares(true_positive + true_negative, images),
        "precision": _shares(true_positive, true_positive + false_positive),
        "recall": _shares(true_positive, true_positive + false_negative),
        "specificity": _shares(true_negative, true_negative + false_positive),
        "f1": _shares(2 * true_positive, 2 * true_positive + false_positive + false_negative),
        "auroc": _auroc(positives, negatives),
        "auprc": _average_precision(positives, negatives),
        "ece": _ece(sums[:, _COUNTS:], images),
        "brier": _shares(squares, images),
    }
    return {name: found[name] for name in FIGURES}


def bin_of(probabilities: Values, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """Which of `bins` of equal width over 0..1 each probability is in; bins are open to the left."""
    return np.searchsorted(np.linspace(0.0, 1.0, bins + 1)[1:-1], probabilities, side="left")


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties counting half; nan when a class is missing."""
    scored = Scored.of(scores, labels, np.zeros(np.shape(labels), bool))
    return float(_auroc(*_by_score(scored, np.ones((1, len(scored)))))[0])


def summarise(scores: ArrayLike, labels: ArrayLike, threshold: float) -> dict[str, float]:
    """All figures at one threshold, by name, with the number of images."""
    scored = Scored.of(scores, labels, np.asarray(scores) >= threshold)
    return {"images": float(len(scored)), **single(figures(scored))}


def single(values: Mapping[str, Values]) -> dict[str, float]:
    """The figures of the only weighting that there is."""
    return {name: float(value) for name, (value,) in values.items()}


def _columns(scored: Scored) -> Values:
    """What is added up over images: the four counts, squared errors, and by how much each bin says too much."""
    true, called = scored.true, scored.called
    counts = [true & called, ~true & called, ~true & ~called, true & ~called, (scored.scores - true) ** 2]
    member = bin_of(scored.scores)[:, None] == np.arange(ECE_BINS)
    gaps = member * (scored.scores - true)[:, None]
    return np.concatenate([np.stack(counts, axis=1), gaps], axis=1)


def _by_score(scored: Scored, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the positives and of the negatives at each different score, ascending, `[b, k]` each."""
    positives, negatives = weights * scored.true, weights * ~scored.true
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scored.scores) > 0])[: len(scored)])
    if len(starts) == len(scored):
        return positives, negatives
    return np.add.reduceat(positives, starts, axis=1), np.add.reduceat(negatives, starts, axis=1)


def _auroc(positives: Floats, negatives: Floats) -> Values:
    # Sums of counts stay exact in the type of the weights; their products would not.
    below = np.cumsum(negatives, axis=1)
    won = np.einsum("bk,bk->b", positives, below - negatives / 2, dtype=np.float64)
    return _shares(won, positives.sum(axis=1, dtype=np.float64) * negatives.sum(axis=1, dtype=np.float64))


def _average_precision(positives: Floats, negatives: Floats) -> Values:
    found = np.cumsum(positives[:, ::-1], axis=1)
    called = found + np.cumsum(negatives[:, ::-1], axis=1)
    steps = positives[:, ::-1] / np.maximum(called, 1e-9)
    return _shares(np.einsum("bk,bk->b", steps, found, dtype=np.float64), positives.sum(axis=1, dtype=np.float64))


def _ece(gaps: Values, images: Values) -> Values:
    """Mean distance, of what probabilities exceed the truth by, added up in each bin: `[b, bins]`."""
    return _shares(np.abs(gaps).sum(axis=1), images)


def _shares(parts: Values, wholes: Values) -> Values:
    return np.asarray(np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0), np.float64)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
