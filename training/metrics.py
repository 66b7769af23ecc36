"""Figures of merit of a binary classifier, in plain numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
        return _ratio(self.true_positive + self.true_negative, self._total)

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
    def _total(self) -> int:
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


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Chance that a positive scores above a negative, ties counting half; nan when a class is missing.

    The Mann-Whitney U statistic (Hanley and McNeil, Radiology 143, 1982).
    """
    values, true = np.asarray(scores, np.float64), np.asarray(labels) > 0.5
    positives, negatives = int(true.sum()), int((~true).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    rank_sum = float(_mean_ranks(values)[true].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def summarise(scores: ArrayLike, labels: ArrayLike, threshold: float) -> dict[str, float]:
    """All figures at one threshold, by name."""
    counts = confusion(scores, labels, threshold)
    return {
        "images": float(counts._total),
        "accuracy": counts.accuracy,
        "precision": counts.precision,
        "recall": counts.recall,
        "specificity": counts.specificity,
        "f1": counts.f1,
        "auroc": auroc(scores, labels),
    }


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    means: NDArray[np.float64] = last - (counts - 1) / 2
    return means[group]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
