"""What is fitted to a network's answers, on answers that are made up and can be counted by hand."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.bundle import Bundle
from models.classifier import Architecture
from models.decision import calibrate
from models.lungs import LungArchitecture
from models.prediction import Prediction
from models.reader import Reader
from models.spec import PreprocessSpec
from tests.networks import random_reader
from training.assemble import GateError, assemble
from training.augment import Augmentation
from training.config import ClassifierConfig, FindingConfig, FitConfig, LungsConfig, TrainingConfig
from training.data import TrainingData
from training.examples import Examples
from training.findings import CODES
from training.split import Split

UNKNOWN = np.nan
FINDING, KIND, OTHER = (FindingConfig(code=CODES[name], name=name) for name in ("pneumonia", "viral pneumonia", "mass"))
CONFIG = TrainingConfig(
    name="tiny",
    version="3",
    findings=(FINDING,),
    spec=PreprocessSpec(name="tiny", version=1, size=32),
    lungs=LungsConfig(
        architecture=LungArchitecture(widths=(4,), groups=1), augmentation=Augmentation(), fit=FitConfig(epochs=1)
    ),
    classifier=ClassifierConfig(
        architecture=Architecture(findings=1, widths=(4,), blocks=(1,), groups=1, context=0.1),
        field=16,
        augmentation=Augmentation(),
        fit=FitConfig(epochs=1),
    ),
    scope_percentile=100.0,
    data="Made-up answers",
    limits="None.",
)
LABELS = np.float32([0, 0, 0, 0, 1, 1, 1, 1])[:, None]
LOGITS = np.where(LABELS > 0.5, 2.0, -2.0).astype(np.float32)
HALF = np.repeat(np.float32([[1, 1, 0, 0]]), 4, axis=0)
"""Lungs in the left half of four by four cells."""


def answers(
    logits: np.ndarray = LOGITS, maps: np.ndarray | None = None, lungs: np.ndarray = HALF, spread: float = 1.0
) -> Prediction:
    count, findings = logits.shape
    embeddings = spread * np.random.default_rng(0).normal(size=(count, 4))
    return Prediction(
        logits.astype(np.float32),
        (np.zeros((count, findings, 4, 4)) if maps is None else maps).astype(np.float32),
        embeddings.astype(np.float32),
        np.stack([lungs] * count),
    )


Assemble = Callable[..., Bundle]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return random_reader(CONFIG.architecture)


@pytest.fixture
def asked() -> list[Split]:
    """Which splits the network was asked about."""
    return []


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch, reader: Reader, asked: list[Split]) -> Assemble:
    """Assembles a bundle of a network that gives these answers; those on validation data stand for the others too."""

    def make(
        validation: Prediction | None = None,
        labels: np.ndarray = LABELS,
        others: Mapping[Split, Prediction] | None = None,
        without: Split | None = None,
        **changes: Any,
    ) -> Bundle:
        said = dict.fromkeys(Split, validation or answers()) | dict(others or {})
        examples = {
            part: Examples(np.full((len(labels), 32, 32), place, np.uint8), labels)
            for place, part in enumerate(Split)
            if part is not without
        }

        def predict(model: Reader, pixels: np.ndarray) -> Prediction:
            asked.append(tuple(Split)[pixels[0, 0, 0]])
            return said[asked[-1]]

        monkeypatch.setattr("training.assemble.predict", predict)
        data = TrainingData(examples=examples, lungs=None, lineage={})
        return assemble(replace(CONFIG, **changes), reader, data, {"seed": 5})

    return make


def test_the_bundle_is_what_the_configuration_says(assembled: Assemble) -> None:
    bundle = assembled()
    assert (bundle.id, bundle.spec, bundle.operating_point) == ("tiny@3", CONFIG.spec, "accuracy")
    assert bundle.architecture == CONFIG.architecture.to_json()
    assert bundle.lineage == {"seed": 5}
    assert (bundle.scope.modalities, bundle.scope.min_std) == (CONFIG.modalities, CONFIG.min_std)
    assert set(bundle.findings[0].thresholds) == {"accuracy", "sensitivity-95", "specificity-95"}
    assert set(bundle.metrics) == {"validation/pneumonia", "test/pneumonia"}
    assert bundle.metrics["test/pneumonia"]["accuracy"] == 1.0
    # Platt's targets for four of each class are 5/6 and 1/6.
    np.testing.assert_allclose(calibrate(bundle, LOGITS)[[0, -1], 0], [1 / 6, 5 / 6], atol=1e-4)


def test_bands_are_terciles_of_what_the_positives_mark(assembled: Assemble) -> None:
    """Healthy lungs say 1 to 5; the positives say 9 in 1, 2, 4 and 8 of the eight cells of lung, and outside."""
    maps = np.zeros((8, 1, 4, 4))
    maps[:4, 0] = np.float32([[1, 2, 99, 99], [3, 4, 99, 99], [5, 5, 99, 99], [5, 5, 99, 99]])
    for row, cells in zip(range(4, 8), (1, 2, 4, 8), strict=True):
        maps[row, 0, :, 2:] = 50.0
        lung = np.zeros(8)
        lung[:cells] = 9.0
        maps[row, 0, :, :2] = lung.reshape(4, 2)
    bands = assembled(answers(maps=maps)).findings[0].severity
    assert bands.map_level == 5.0
    # Of 1/8, 2/8, 4/8 and 8/8 the terciles lie at the places 1 and 2.
    assert (bands.moderate_from, bands.severe_from) == pytest.approx((0.25, 0.5))


def test_one_cell_in_twenty_of_healthy_lungs_may_reach_the_level(assembled: Assemble) -> None:
    maps = np.zeros((8, 1, 4, 4))
    maps[:4, 0, :, :2] = np.arange(32).reshape(4, 4, 2)
    bands = assembled(answers(maps=maps)).findings[0].severity
    assert bands.map_level == pytest.approx(0.95 * 31)


def test_nothing_marked_is_never_more_than_mild(assembled: Assemble) -> None:
    bands = assembled(answers()).findings[0].severity
    assert bands.map_level > 0.0
    assert bands.severe_from >= bands.moderate_from > 0.0


def test_without_lungs_there_are_bands_all_the_same(assembled: Assemble) -> None:
    bands = assembled(answers(maps=np.ones((8, 1, 4, 4)), lungs=0.0 * HALF)).findings[0].severity
    assert 0.0 < bands.map_level < 1e-3
    assert np.isfinite([bands.moderate_from, bands.severe_from]).all()


@pytest.mark.parametrize(
    ("findings", "parents"),
    [
        ((FINDING, KIND), [None, FINDING.code]),
        ((KIND, FINDING), [FINDING.code, None]),
        ((KIND, OTHER), [None, None]),
    ],
)
def test_a_kind_has_its_finding_for_parent_where_the_model_knows_it(
    assembled: Assemble, findings: tuple[FindingConfig, ...], parents: list[str | None]
) -> None:
    two = answers(np.repeat(LOGITS, 2, axis=1))
    bundle = assembled(two, labels=np.repeat(LABELS, 2, axis=1), findings=findings)
    assert [finding.parent for finding in bundle.findings] == parents
    assert [finding.name for finding in bundle.findings] == [finding.name for finding in findings]


def test_what_is_not_known_of_a_finding_is_left_out(assembled: Assemble) -> None:
    """The second finding is known of the inner four, which the network gets right; the others would turn it round."""
    labels = np.repeat(LABELS, 2, axis=1)
    labels[[0, 1, 6, 7], 1] = UNKNOWN
    logits = np.repeat(LOGITS, 2, axis=1)
    logits[[0, 1, 6, 7], 1] *= -9
    bundle = assembled(answers(logits), labels=labels, findings=(FINDING, OTHER))
    assert bundle.metrics["validation/mass"]["images"] == 4
    assert bundle.metrics["validation/mass"]["accuracy"] == 1.0
    assert bundle.findings[1].temperature > 0


@pytest.mark.parametrize(("share", "least"), [(0.5, 0.25), (0.2, 0.1)])
def test_a_chest_has_at_least_half_the_lungs_of_the_smallest_seen(
    assembled: Assemble, share: float, least: float
) -> None:
    """It is the training images that say so, not those that the rest is fitted to."""
    train = replace(answers(), lungs=np.full((8, 4, 4), share, np.float32))
    assert assembled(others={Split.TRAIN: train}).scope.min_lungs == pytest.approx(least)


def test_one_odd_image_does_not_open_the_scope(assembled: Assemble) -> None:
    lungs = np.full((5000, 4, 4), 0.4, np.float32)
    lungs[0] = 0.0
    train = Prediction(*(np.zeros((5000, *each.shape[1:]), np.float32) for each in _fields(answers())))
    assert assembled(others={Split.TRAIN: replace(train, lungs=lungs)}).scope.min_lungs == pytest.approx(0.2, abs=1e-3)


def test_the_distance_is_from_the_training_images_as_far_as_validation_goes(assembled: Assemble) -> None:
    near, far = answers(), answers(spread=3.0)
    scopes = [assembled(validation, others={Split.TRAIN: near}).scope for validation in (near, far)]
    np.testing.assert_allclose(scopes[0].mean, near.embeddings.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(scopes[0].whitening, scopes[1].whitening)
    assert scopes[1].max_distance == pytest.approx(scopes[1].distance(far.embeddings).max())
    assert scopes[1].max_distance > 2 * scopes[0].max_distance


def test_below_the_gate_the_test_data_are_not_looked_at(assembled: Assemble, asked: list[Split]) -> None:
    wrong = LOGITS.copy()
    wrong[[0, 1]] = 2.0
    with pytest.raises(GateError, match=r"pneumonia: validation accuracy 0\.750 is below 0\.9"):
        assembled(answers(wrong))
    assert asked == [Split.VALIDATION]


def test_at_the_gate_it_passes_and_a_kind_is_held_to_nothing(assembled: Assemble) -> None:
    both = np.repeat(LOGITS, 2, axis=1)
    both[[0, 1], 1] = 2.0
    labels = np.repeat(LABELS, 2, axis=1)
    bundle = assembled(answers(both), labels=labels, findings=(FINDING, KIND), min_accuracy=1.0)
    assert bundle.metrics["validation/viral pneumonia"]["accuracy"] == 0.75
    with pytest.raises(GateError, match="mass"):
        assembled(answers(both), labels=labels, findings=(FINDING, OTHER))


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(-LOGITS, LABELS), (LOGITS, np.ones_like(LABELS)), (LOGITS, np.full_like(LABELS, UNKNOWN))],
    ids=["reversed", "of one class", "not known"],
)
def test_what_cannot_be_calibrated_does_not_pass(
    assembled: Assemble, asked: list[Split], logits: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(GateError, match="pneumonia: the logits carry no information"):
        assembled(answers(logits), labels=labels)
    assert asked == [Split.VALIDATION]


def test_without_test_data_there_are_no_figures_of_them(assembled: Assemble, asked: list[Split]) -> None:
    assert set(assembled(without=Split.TEST).metrics) == {"validation/pneumonia"}
    assert asked == [Split.VALIDATION, Split.TRAIN]


def _fields(prediction: Prediction) -> tuple[np.ndarray, ...]:
    return prediction.logits, prediction.maps, prediction.embeddings, prediction.lungs
