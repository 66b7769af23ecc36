"""Intervals: repeatable, of about the width that theory gives, by patient, with both classes in each resample."""

import numpy as np
import pytest

from training.bootstrap import as_numbers, intervals, share_interval
from training.metrics import FIGURES, Scored, figures, single


def scored(images: int, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    labels = rng.random(images) < 0.5
    scores = 1 / (1 + np.exp(-rng.normal(2.0 * labels - 1.0, 1.5)))
    return Scored.of(scores, labels, scores >= 0.5)


def test_the_figure_lies_in_its_interval() -> None:
    sample = scored(400)
    found = intervals(sample, np.arange(400), seed=1)
    assert tuple(found) == FIGURES
    for name, value in single(figures(sample)).items():
        low, high = found[name]
        # The calibration error of a resample is larger than that of the data: noise only ever adds to it.
        assert low <= value <= high or name == "ece"


def test_the_ends_for_a_share_are_those_of_the_binomial() -> None:
    sample = scored(900)
    recall = single(figures(sample))["recall"]
    error = np.sqrt(recall * (1 - recall) / sample.true.sum())
    found = intervals(sample, np.arange(900), seed=1)["recall"]
    assert found == pytest.approx((recall - 1.96 * error, recall + 1.96 * error), abs=0.2 * error)


def test_images_of_one_patient_are_drawn_together() -> None:
    one = scored(100)
    again = np.tile(np.arange(100), 9)
    copies = Scored.of(one.scores[again], one.true[again], one.called[again])
    alone = intervals(one, np.arange(100), seed=1)["accuracy"]
    by_patient = intervals(copies, again, seed=1)["accuracy"]
    by_image = intervals(copies, np.arange(900), seed=1)["accuracy"]
    assert by_patient == pytest.approx(alone, abs=0.02)
    assert by_image[1] - by_image[0] < 0.5 * (by_patient[1] - by_patient[0])


def test_patients_follow_their_images_through_the_sorting() -> None:
    """Of two patients one is always right and one always wrong: by patient, a resample is right in 0, 1/2 or all."""
    labels = np.tile([True, False], 20)
    scores = np.concatenate([np.where(labels[:20], 0.9, 0.1), np.where(labels[20:], 0.2, 0.8)])
    sample = Scored.of(scores, labels, scores >= 0.5)
    found = intervals(sample, np.repeat([7, 3], 20), seed=0, resamples=200)
    assert found["accuracy"] == (0.0, 1.0)


def test_every_resample_has_as_many_of_both_classes() -> None:
    """The one positive is right and all negatives are wrong, so accuracy tells how many positives were drawn."""
    labels = np.arange(50) == 0
    sample = Scored.of(np.where(labels, 0.9, 0.7), labels, np.ones(50, bool))
    found = intervals(sample, np.arange(50), seed=0, resamples=300)
    assert found["accuracy"] == pytest.approx((0.02, 0.02))
    assert found["auroc"] == (1.0, 1.0)


def test_the_same_seed_gives_the_same_intervals_and_another_others() -> None:
    sample = scored(80)
    first, again, other = (intervals(sample, np.arange(80), seed, resamples=200) for seed in (4, 4, 5))
    assert first == again
    assert first["brier"] != other["brier"]


def test_what_no_resample_has_is_none() -> None:
    sample = Scored.of([0.1, 0.2], [0, 0], [0, 0])
    found = intervals(sample, np.arange(2), seed=0, resamples=10)
    assert found["auroc"] is None
    assert found["accuracy"] == (1.0, 1.0)
    assert set(intervals(Scored.of([], [], []), np.arange(0), seed=0).values()) == {None}


def test_the_interval_of_a_share() -> None:
    low, high = share_interval(np.arange(400) % 4 > 0, np.arange(400), seed=0)
    assert (low, high) == pytest.approx((0.7075, 0.7925), abs=0.01)
    assert share_interval(np.zeros(0, bool), np.arange(0), seed=0) is None


def test_an_unknown_patient_is_one_of_the_image_alone() -> None:
    first, second, third, fourth, fifth = as_numbers(["a", None, "a", None, "b"])
    assert first == third
    assert len({first, second, fourth, fifth}) == 4
