"""The most confident errors, and their pictures."""

import cv2
import numpy as np

from schemas.events import Decision
from training.evaluation.gallery import Gallery, draw
from training.evaluation.judge import judge


def gallery(play, lines, each=2):
    predictor, source = play(lines)
    kept = Gallery(predictor.bundle.findings, each)
    judge(predictor, source, "accuracy", (kept,))
    return kept


def names(errors):
    return [error.name for error in errors]


def test_the_worst_are_kept_alarms_and_misses_apart(play) -> None:
    alarms = [{"label": "normal", "says": (p, 0.01, 0.01)} for p in (0.7, 0.95, 0.8, 0.99)]
    misses = [{"label": "pneumonia", "says": (p, 0.01, 0.01)} for p in (0.3, 0.02)]
    right = [{"label": "pneumonia", "says": (0.999, 0.01, 0.01)}]
    kept = gallery(play, [*alarms, *misses, *right])
    assert names(kept.errors("pneumonia", misses=False)) == ["image-3", "image-1"]
    assert names(kept.errors("pneumonia", misses=True)) == ["image-5", "image-4"]
    assert [error.finding.decision for error in kept.errors("pneumonia", misses=True)] == [Decision.ABSENT] * 2
    assert kept.errors("viral pneumonia", misses=False) == []


def test_what_the_service_would_not_have_said_is_no_error(play) -> None:
    kept = gallery(
        play,
        [
            {"label": "normal", "says": (0.51, 0.01, 0.01)},
            {"label": "normal", "says": (0.99, 0.01, 0.01), "modality": "CT"},
            {"label": "pneumonia", "says": (0.99, 0.99, 0.01)},
        ],
    )
    for name in ("pneumonia", "bacterial pneumonia"):
        assert kept.errors(name, misses=False) == []


def test_of_equal_ones_the_first_comes_first(play) -> None:
    kept = gallery(play, [{"label": "normal", "says": (0.9, 0.01, 0.01)}] * 5)
    assert names(kept.errors("pneumonia", misses=False)) == ["image-0", "image-1"]


def test_a_picture_has_the_shape_of_the_image(play) -> None:
    (error,) = gallery(play, [{"label": "normal", "says": (0.9, 0.01, 0.01)}]).errors("pneumonia", misses=False)
    shown = cv2.imdecode(np.frombuffer(draw(error, lambda name: None), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (640, 640, 3)
    dark = np.zeros((error.geometry.original_rows, error.geometry.original_columns), np.uint8)
    over = cv2.imdecode(np.frombuffer(draw(error, lambda name: dark), np.uint8), cv2.IMREAD_COLOR)
    hot, cold = over[200:280, 200:280], over[400:, 400:]
    assert hot.mean() > 30 > 10 > cold.mean(), "the map marks the second cell of four, down and across"


def test_an_image_of_another_shape_than_it_had_is_not_drawn_over(play) -> None:
    (error,) = gallery(play, [{"label": "normal", "says": (0.9, 0.01, 0.01)}]).errors("pneumonia", misses=False)
    changed = np.full((10, 90), 255, np.uint8)
    assert draw(error, lambda name: changed) == draw(error, lambda name: None)
