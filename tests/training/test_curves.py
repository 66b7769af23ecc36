"""Curves: their ends, their areas, and what becomes of them where a class is missing."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from training.curves import curves
from training.metrics import Scored, figures, single

pairs = st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]), st.booleans()), min_size=1, max_size=30)


def scored(pairs: list[tuple[float, bool]]) -> Scored:
    scores, labels = map(np.array, zip(*pairs, strict=True))
    return Scored.of(scores, labels, scores >= 0.5)


@settings(deadline=None)
@given(pairs)
def test_the_area_under_the_curve_is_the_figure(pairs: list[tuple[float, bool]]) -> None:
    sample = scored(pairs)
    found = curves(sample)
    if sample.true.all() or not sample.true.any():
        assert found.roc == found.precision_recall == found.sweep == ()
        return
    x, y = map(list, zip(*found.roc, strict=True))
    assert (found.roc[0], found.roc[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert np.trapezoid(y, x) == pytest.approx(single(figures(sample))["auroc"])


@settings(deadline=None)
@given(pairs)
def test_every_image_is_in_one_bar_and_one_bin(pairs: list[tuple[float, bool]]) -> None:
    found = curves(scored(pairs))
    assert sum(map(sum, found.histogram)) == len(pairs)
    assert sum(b.images for b in found.reliability) == len(pairs)
    assert all(0 <= b.low <= b.share <= b.high <= 1 or b.share in (0, 1) for b in found.reliability)


def test_the_curve_has_the_corners_of_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(200) < 0.4
    scores = np.round(rng.random(200) * 0.5 + labels * 0.3, 2)
    x, y, _ = roc_curve(labels, scores, drop_intermediate=False)
    found = curves(Scored.of(scores, labels, labels)).roc
    assert set(found) <= {(float(a), float(b)) for a, b in zip(x, y, strict=True)}


def test_the_sweep_of_a_small_case() -> None:
    found = curves(scored([(0.2, False), (0.2, True), (0.7, True), (0.5, False)]))
    sweep = {round(at, 2): rest for at, *rest in found.sweep}
    assert sweep[0.0] == [1.0, 0.0, 0.5]
    assert sweep[0.2] == [1.0, 0.0, 0.5], "the threshold itself is positive"
    assert sweep[0.6] == [0.5, 1.0, 0.75]
    assert sweep[1.0] == [0.0, 1.0, 0.5]


def test_many_points_become_few() -> None:
    rng = np.random.default_rng(0)
    found = curves(Scored.of(rng.random(20_000), rng.random(20_000) < 0.5, np.zeros(20_000, bool)))
    assert len(found.roc) <= 300
    assert len(json.dumps(found.to_json())) < 60_000


def test_no_images_have_no_curves() -> None:
    found = curves(Scored.of([], [], []))
    assert found.roc == found.reliability == ()
    assert sum(map(sum, found.histogram)) == 0
