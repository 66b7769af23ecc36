"""Figures against scikit-learn, and what they are where a class, a call or everything is missing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from training.metrics import (
    ECE_BINS,
    FIGURES,
    Confusion,
    Scored,
    auroc,
    bin_of,
    confusion,
    figures,
    single,
    summarise,
)

#: Few different scores, so that ties are the rule; bounds of bins among them.
pairs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.6, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40
)


def columns(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = zip(*pairs, strict=True)
    return np.array(scores), np.array(labels)


def expected(scores: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """What scikit-learn says, with nan for what has no denominator."""
    called = scores >= threshold
    both = 0 < labels.sum() < len(labels)
    share, mean = calibration_curve(labels, scores, n_bins=ECE_BINS)
    _, counts = np.unique(bin_of(scores), return_counts=True)
    nan = float("nan")
    return {
        "accuracy": reference.accuracy_score(labels, called),
        "precision": reference.precision_score(labels, called) if called.any() else nan,
        "recall": reference.recall_score(labels, called) if labels.any() else nan,
        "specificity": reference.recall_score(~labels, ~called) if not labels.all() else nan,
        "f1": reference.f1_score(labels, called) if (labels | called).any() else nan,
        "auroc": reference.roc_auc_score(labels, scores) if both else nan,
        "auprc": reference.average_precision_score(labels, scores) if labels.any() else nan,
        "ece": float(np.sum(counts * np.abs(share - mean)) / len(labels)),
        "brier": float(np.mean((scores - labels) ** 2)),
    }


@settings(deadline=None)
@given(pairs, st.sampled_from([0.0, 0.5, 0.55, 1.0, 2.0]))
def test_every_figure_is_that_of_scikit_learn(pairs: list[tuple[float, bool]], threshold: float) -> None:
    scores, labels = columns(pairs)
    found = single(figures(Scored.of(scores, labels, scores >= threshold)))
    assert tuple(found) == FIGURES
    assert found == pytest.approx(expected(scores, labels, threshold), abs=1e-12, nan_ok=True)


def test_every_figure_of_many_images_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(3000) < 0.7
    scores = 1 / (1 + np.exp(-rng.normal(3.0 * labels - 1.0, 2.0)))
    found = single(figures(Scored.of(scores, labels, scores >= 0.4)))
    assert found == pytest.approx(expected(scores, labels, 0.4), abs=1e-12)


@settings(deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_a_weight_counts_like_a_copy(pairs, random) -> None:
    scores, labels = columns(pairs)
    scored = Scored.of(scores, labels, scores >= 0.5)
    weights = np.array([[random.randint(0, 3) for _ in pairs] for _ in range(3)], np.float32)
    together = figures(scored, weights)
    for row, counts in enumerate(weights.astype(int)):
        again = np.repeat(np.arange(len(scored)), counts)
        if len(again) == 0:
            assert all(math.isnan(values[row]) for values in together.values())
            continue
        copies = Scored.of(scored.scores[again], scored.true[again], scored.called[again])
        alone = single(figures(copies))
        assert {name: values[row] for name, values in together.items()} == pytest.approx(alone, abs=1e-5, nan_ok=True)


def test_figures_of_a_known_table() -> None:
    counts = Confusion(true_positive=40, false_positive=10, true_negative=30, false_negative=20)
    assert counts.accuracy == 0.7
    assert counts.precision == 0.8
    assert counts.recall == pytest.approx(2 / 3)
    assert counts.specificity == 0.75
    assert counts.f1 == pytest.approx(2 * 0.8 * (2 / 3) / (0.8 + 2 / 3))


def test_the_threshold_itself_is_positive() -> None:
    assert confusion([0.2, 0.5, 0.5, 0.9], [0, 0, 1, 1], 0.5) == Confusion(2, 1, 1, 0)


@given(pairs)
def test_auroc_is_the_share_of_ordered_pairs(pairs: list[tuple[float, bool]]) -> None:
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    area = auroc(*map(list, zip(*pairs, strict=True)))
    if not positives or not negatives:
        assert math.isnan(area)
        return
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert area == pytest.approx(won / (len(positives) * len(negatives)))


def test_logits_have_an_auroc_too() -> None:
    assert auroc([-3.0, 4.0, 5.0], [0, 1, 1]) == 1.0


@given(pairs, st.floats(0, 2))
def test_every_image_is_counted_once(pairs: list[tuple[float, bool]], threshold: float) -> None:
    scores, labels = columns(pairs)
    assert summarise(scores, labels, threshold)["images"] == len(pairs)
    assert confusion(scores, labels, threshold).images == len(pairs)


def test_a_figure_without_a_denominator_is_no_number() -> None:
    assert math.isnan(confusion([0.1], [0], 0.5).precision)
    assert math.isnan(confusion([0.1], [0], 0.5).recall)
    nothing = single(figures(Scored.of([], [], [])))
    assert all(map(math.isnan, nothing.values()))


def test_a_bin_is_open_to_the_left() -> None:
    assert bin_of(np.array([0.0, 1 / 15, np.nextafter(1 / 15, 1), 1.0])).tolist() == [0, 0, 1, 14]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one length"):
        confusion(np.zeros(3), np.zeros(2), 0.5)
    with pytest.raises(ValueError, match="one length"):
        Scored.of(np.zeros(3), np.zeros(3), np.zeros(2))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="nan"):
        Scored.of([0.1, float("nan")], [0, 1], [0, 1])
