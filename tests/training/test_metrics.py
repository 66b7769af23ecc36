import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import Confusion, auroc, confusion, summarise

pairs = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40)


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
def test_auroc_is_the_share_of_ordered_pairs(pairs: list[tuple[int, bool]]) -> None:
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    area = auroc(*map(list, zip(*pairs, strict=True)))
    if not positives or not negatives:
        assert math.isnan(area)
        return
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert area == pytest.approx(won / (len(positives) * len(negatives)))


@given(pairs, st.integers(0, 6))
def test_every_image_is_counted_once(pairs: list[tuple[int, bool]], threshold: int) -> None:
    scores, labels = map(list, zip(*pairs, strict=True))
    assert summarise(scores, labels, threshold)["images"] == len(pairs)


def test_a_figure_without_a_denominator_is_no_number() -> None:
    assert math.isnan(confusion([0.1], [0], 0.5).precision)
    assert math.isnan(confusion([0.1], [0], 0.5).recall)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one length"):
        confusion(np.zeros(3), np.zeros(2), 0.5)
