"""Opacities painted into the healthy images of an evaluation, and the share of the maps that lies in the lungs."""

from dataclasses import dataclass
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from models.bundle import Bundle
from models.prediction import Prediction
from training.evaluation.findings import Plan
from training.evaluation.healthy import Healthy, painted
from training.evaluation.judge import judge
from training.evaluation.run import evaluate, write

CELLS = 8


@dataclass
class Bright:
    """A predictor that marks where a picture is bright, and takes its left half for lung."""

    bundle: Bundle
    blind: bool = False
    largest_batch: int = 16

    def predict(self, pixels: np.ndarray) -> Prediction:
        count, edge, _ = pixels.shape
        cells = pixels.reshape(count, CELLS, edge // CELLS, CELLS, edge // CELLS).mean(axis=(2, 4)) / 255
        marks = np.full_like(cells, 0.7) if self.blind else np.clip(2.5 * cells - 0.5, 0, None)
        lungs = np.zeros((count, CELLS, CELLS), np.float32)
        lungs[:, :, : CELLS // 2] = 1.0
        marks = (marks * lungs).astype(np.float32)
        chance = 60 * (marks >= 0.5).mean(axis=(1, 2)) - 2
        return Prediction(
            logits=np.repeat(chance[:, None], 3, axis=1).astype(np.float32),
            maps=np.repeat(marks[:, None], 3, axis=1),
            embeddings=np.zeros((count, 4), np.float32),
            lungs=lungs,
        )


@pytest.fixture
def dark(play):
    """Twelve dark images of nothing, and three of pneumonia."""
    lines = [{"label": "normal" if number < 12 else "pneumonia", "says": (0.1, 0.1, 0.1)} for number in range(15)]
    _, source = play(lines)
    for number, example in enumerate(source.items):
        example.pixels[:] = np.random.default_rng(number).integers(40, 60, example.pixels.shape)
        example.pixels[:, 16:] = 200  # the tissue beside the lungs: as bright is what is painted
    return source


def healthy(predictor, source, most: int = 64) -> Healthy:
    kept = Healthy(most)
    judge(predictor, source, "accuracy", (kept,))
    return kept


def test_a_map_of_brightness_points_at_opacities_and_grows_with_them(bundle, dark) -> None:
    said = painted(Bright(bundle), healthy(Bright(bundle), dark), Plan("accuracy"))
    assert set(said) == {"pneumonia"}, "kinds share the finding's map"
    pointing, growth = said["pneumonia"]["pointing"], said["pneumonia"]["growth"]
    assert pointing["images"] == 12
    assert pointing["hits"] > 0.9 > 0.3 > pointing["chance"]
    assert growth["rank_correlation"] > 0.9
    assert growth["called"][0] == 0.0
    assert growth["called"][-1] == 1.0


def test_a_map_that_looks_at_nothing_does_neither(bundle, dark) -> None:
    said = painted(Bright(bundle, blind=True), healthy(Bright(bundle), dark), Plan("accuracy"))["pneumonia"]
    assert said["pointing"]["hits"] < 0.5
    assert said["growth"]["rank_correlation"] == 0.0


def test_the_same_images_are_kept_in_whatever_order_they_come(bundle, dark) -> None:
    first = healthy(Bright(bundle), dark, 5).arrays()
    dark.items = dark.items[::-1]
    again = healthy(Bright(bundle), dark, 5).arrays()
    assert len(first[0]) == 5
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_healthy_images_nothing_is_painted(bundle) -> None:
    assert painted(Bright(bundle), Healthy(), Plan("accuracy")) == {}


def test_the_share_in_the_lungs_is_in_the_figures_and_on_the_page(bundle, dark, tmp_path) -> None:
    for example in dark.items[12:]:
        example.pixels[8:24, :16] = 180
    predictor, plan = Bright(bundle), Plan("accuracy", resamples=20)
    evaluation = evaluate(predictor, dark, plan, Console(file=StringIO()))
    assert evaluation.summary["findings"]["pneumonia"]["explanation"] == {
        "images": 3,
        "empty_maps": 0,
        "in_lungs": 1.0,
        "in_lungs_p5": 1.0,
    }
    evaluation.summary["opacities"] = painted(predictor, evaluation.healthy, plan)
    write(evaluation, dark, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<b>100.0%</b> lies in the lungs" in page
    assert "painted into 12 images of healthy lungs" in page
    card = (tmp_path / "card.md").read_text()
    assert "100.0% lies in the lungs" in card
    assert "12 healthy lungs" in card


def test_a_model_that_calls_nothing_has_no_map_to_look_at(bundle, dark) -> None:
    evaluation = evaluate(Bright(bundle), dark, Plan("accuracy", resamples=20), Console(file=StringIO()))
    assert evaluation.summary["findings"]["pneumonia"]["explanation"]["in_lungs"] is None
