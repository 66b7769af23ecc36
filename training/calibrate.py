"""What is fitted on validation data once the network stands: calibration, thresholds, severity bands, scope."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.decision import calibrated, logistic

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The line that takes a logit to the log odds of a calibrated probability."""

    temperature: float
    bias: float

    def probabilities(self, logits: Floats) -> NDArray[np.float64]:
        """Calibrated probabilities of `[n]` logits."""
        return calibrated(logits, self.temperature, self.bias)


def fit_calibration(logits: Floats, labels: Floats) -> Calibration:
    """Fit the line by least mean cross entropy on `[n]` logits and labels of 0 and 1.

    Platt scaling ("Probabilistic Outputs for Support Vector Machines", 1999), softened targets included: they keep
    the line finite when the classes are separable. A temperature alone (Guo et al., ICML 2017) would leave the
    offset that class weights in the loss put into the logits.

    Raises:
        ValueError: higher logits do not go with the finding, so that there is nothing to calibrate.
    """
    z, true = np.asarray(logits, np.float64), np.asarray(labels) > 0.5
    positives, negatives = int(true.sum()), int((~true).sum())
    targets = np.where(true, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    features = np.stack([z, np.ones_like(z)], axis=1)
    line: NDArray[np.float64] = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    for _ in range(100):
        step = _newton_step(features, targets, line)
        line = line - step
        if np.abs(step).max() < 1e-10:
            break
    if not line[0] > 0:
        raise ValueError("the logits carry no information about the labels; the network has learnt nothing")
    return Calibration(temperature=float(1.0 / line[0]), bias=float(line[1]))


def _newton_step(
    features: NDArray[np.float64], targets: NDArray[np.float64], line: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One step of Newton's method, halved until the convex loss falls."""
    odds = features @ line
    probabilities = logistic(odds)
    slope = features.T @ (probabilities - targets)
    curvature = features.T @ (features * (probabilities * (1.0 - probabilities))[:, None])
    step = np.linalg.solve(curvature + 1e-12 * np.eye(2), slope).astype(np.float64)
    loss = np.sum(np.logaddexp(0.0, odds) - targets * odds)
    while np.abs(step).max() >= 1e-10:
        tried = features @ (line - step)
        if np.sum(np.logaddexp(0.0, tried) - targets * tried) <= loss:
            break
        step = step / 2.0
    return step


def choose_thresholds(
    probabilities: Floats, labels: Floats, level: float = 0.95, prevalence: float | None = None
) -> Mapping[str, float]:
    """Pick operating points from `[n]` probabilities.

    Args:
        probabilities: calibrated.
        labels: 0 or 1.
        level: of sensitivity and specificity.
        prevalence: share of positives that `accuracy` supposes; that of the labels if None.

    Returns:
        `accuracy`: where most decisions are right, were the finding as common as `prevalence`; `sensitivity-95`: the
        highest threshold that still finds `level` of the positives; `specificity-95`: the lowest that still clears
        `level` of the negatives.

    Raises:
        ValueError: a class is missing.
    """
    scores, true = np.asarray(probabilities, np.float64), np.asarray(labels) > 0.5
    if true.all() or not true.any():
        raise ValueError("operating points need positives and negatives in the validation data")
    values = np.unique(scores)
    # Between two neighbouring scores any threshold decides alike; the middle is the least surprising.
    candidates = np.concatenate([values[:1] / 2, (values[1:] + values[:-1]) / 2, (values[-1:] + 1) / 2])
    found = 1.0 - np.searchsorted(np.sort(scores[true]), candidates) / true.sum()
    cleared = np.searchsorted(np.sort(scores[~true]), candidates) / (~true).sum()
    common = float(true.mean()) if prevalence is None else prevalence
    right = found * common + cleared * (1.0 - common)
    best = np.flatnonzero(right >= right.max() - 1e-9)
    return {
        "accuracy": float(candidates[best[len(best) // 2]]),
        "sensitivity-95": float(candidates[found >= level - 1e-12][-1]),
        "specificity-95": float(candidates[cleared >= level - 1e-12][0]),
    }


def fit_whitening(embeddings: Floats, shrinkage: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean `[d]` and whitening `[d, d]` of training embeddings `[n, d]`.

    The covariance is shrunk towards a multiple of the identity (Ledoit and Wolf, 2004), so that directions in which
    the training images hardly vary do not dominate the distance.
    """
    samples = np.asarray(embeddings, np.float64)
    mean = samples.mean(axis=0)
    covariance = np.atleast_2d(np.cov(samples, rowvar=False))
    typical = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    shrunk = (1.0 - shrinkage) * covariance + shrinkage * typical * np.eye(len(covariance))
    variances, axes = np.linalg.eigh(shrunk)
    return mean.astype(np.float32), (axes / np.sqrt(variances)).astype(np.float32)
