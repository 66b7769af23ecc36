"""What the classifier and the U-Net are asked, on networks of a few channels."""

from dataclasses import replace

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classifier import Architecture, Classifier
from models.lung_field import lung_boxes
from models.lungs import LungArchitecture, LungNet
from models.prediction import Prediction
from models.reader import ReaderArchitecture
from tests.networks import random_reader
from training.augment import Augmentation
from training.config import FitConfig
from training.fit import Columns, Job, fit
from training.fit.classify import ClassifierTask, class_weights
from training.fit.segment import LungTask, dice
from training.predict import predict

CLASSIFIER = Architecture(findings=2, widths=(8,), blocks=(1,), groups=4, context=0.02)
LUNGS = LungArchitecture(widths=(8, 8), groups=4)
TASK = ClassifierTask(
    findings=("pneumonia", "effusion"),
    field=32,
    augmentation=Augmentation(flip=0.5, rotation=5.0),
    class_weights=((0.5, 2.0), (1.0, 1.0)),
)
CONFIG = FitConfig(epochs=8, batch=16, learning_rate=2e-2, ema=0.7)


def discs(count: int, seed: int = 0) -> Columns:
    """Noise with a disc in the lung where the first finding is; of the second nobody knows."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (count, 48, 48), dtype=np.uint8)
    masks = np.zeros_like(images)
    labels = np.stack([rng.random(count) < 0.5, np.full(count, np.nan)], axis=1).astype(np.float32)
    for image, mask, sick in zip(images, masks, labels[:, 0], strict=True):
        cv2.rectangle(mask, (8, 8), (40, 40), 255, -1)
        if sick:
            cv2.circle(image, tuple(int(at) for at in rng.integers(16, 32, 2)), 7, 255, -1)
    boxes = np.tile(np.float32([[0.1, 0.1, 0.9, 0.9]]), (count, 1))
    return Columns({"images": images, "lungs": masks[:, ::2, ::2].copy(), "boxes": boxes, "labels": labels})


def batch(columns: Columns) -> dict[str, jax.Array]:
    return {name: jnp.asarray(values) for name, values in columns.take(np.arange(len(columns))).items()}


def test_the_classifier_learns_and_figures_are_of_what_is_known() -> None:
    model = Classifier(CLASSIFIER, rngs=nnx.Rngs(0))
    train = discs(64)
    task = replace(TASK, class_weights=class_weights(train.arrays["labels"]), smoothing=0.05)
    epochs = fit(model, Job(task=task, train=train, validation=discs(37, 1), config=CONFIG, seed=0)).history.epochs
    assert epochs[-1].figures["pneumonia AUROC"] > 0.9
    assert np.isnan(epochs[-1].figures["effusion AUROC"])
    assert np.isnan(epochs[-1].figures["effusion accuracy"])


def test_evaluation_sees_what_serving_sees() -> None:
    some = batch(discs(3))
    reader = random_reader(ReaderArchitecture(lungs=LUNGS, classifier=CLASSIFIER, field=32))

    @jax.jit
    def both(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        served = reader(images)
        settled = TASK.settle({**some, "lungs": served.lungs, "boxes": lung_boxes(served.lungs)})
        return served.logits, TASK.forward(reader.classifier, settled)

    served, settled = both(some["images"])
    np.testing.assert_allclose(settled, served, atol=1e-5)


def test_what_is_drawn_is_what_is_settled_when_nothing_changes() -> None:
    some = batch(discs(4))
    settled = jax.jit(TASK.settle)(some)
    still = replace(TASK, augmentation=Augmentation(), opening=0.0)
    drawn = jax.jit(still.draw)(jax.random.key(0), some)
    np.testing.assert_allclose(drawn["lungs"], settled["lungs"][:, :1], atol=1e-3)
    np.testing.assert_allclose(drawn["images"], settled["images"][:, :1], atol=1e-3)


def test_views_open_towards_the_whole_picture() -> None:
    some = batch(discs(200))
    blank = {**some, "images": jnp.zeros_like(some["images"]).at[:, 0].set(255)}  # a line that no lung field holds
    drawn = replace(TASK, augmentation=Augmentation(), opening=0.5).draw(jax.random.key(0), blank)
    seen = np.asarray(drawn["images"].max(axis=(1, 2, 3)) > 0.2)
    assert 0.1 < seen.mean() < 0.5


def test_mixing_mixes_labels_and_lungs() -> None:
    some = batch(discs(16))
    mixed = jax.jit(replace(TASK, augmentation=Augmentation(mixup=0.5)).draw)(jax.random.key(0), some)
    known = mixed["labels"][:, 0]
    assert bool(((known > 0) & (known < 1)).any())
    assert bool(jnp.isnan(mixed["labels"][:, 1]).all())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), min_size=8, max_size=8), st.floats(0, 0.5))
def test_losses_are_the_weighted_cross_entropy_of_what_is_known(labels: list[float], smoothing: float) -> None:
    asked = np.float32(labels).reshape(4, 2)
    logits = np.float32([[0.3, -2.0], [4.0, 0.0], [-1.0, 1.0], [0.0, 30.0]])
    task = replace(TASK, smoothing=smoothing)
    values, weights = task.losses(jnp.asarray(logits), {"labels": jnp.asarray(asked)})
    target = np.where(np.isnan(asked), np.nan, asked * (1 - smoothing) + smoothing / 2).astype(np.float64)
    by_class = np.array(task.class_weights)
    entropy = np.logaddexp(0, logits) - target * logits
    expected = entropy * (target * by_class[:, 1] + (1 - target) * by_class[:, 0])
    np.testing.assert_array_equal(weights, (~np.isnan(asked)).sum(axis=1))
    np.testing.assert_allclose(np.asarray(values) * weights, np.nansum(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_an_unknown_label_moves_nothing() -> None:
    asked = {"labels": jnp.array([[jnp.nan, 1.0]])}
    gradient = jax.grad(lambda logits: TASK.losses(logits, asked).values.sum())(jnp.array([[0.3, 0.3]]))
    assert float(gradient[0, 0]) == 0.0
    assert float(gradient[0, 1]) != 0.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), min_size=1, max_size=40))
def test_class_weights_make_both_classes_count_the_same(labels: list[float]) -> None:
    column = np.float32(labels)[:, None]
    ((negative, positive),) = class_weights(column)
    assert np.isfinite([negative, positive]).all()
    known = column[~np.isnan(column)]
    if 0 < known.sum() < len(known):
        assert positive * known.sum() == pytest.approx(negative * (len(known) - known.sum()), rel=1e-5)


def test_tasks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="as many pairs"):
        replace(TASK, findings=("pneumonia",))
    with pytest.raises(ValueError, match="opening"):
        replace(TASK, opening=1.5)
    with pytest.raises(ValueError, match="smoothing"):
        replace(TASK, smoothing=1.0)


def lungs(count: int, seed: int = 0) -> Columns:
    """Dark ellipses on noise, and where they are."""
    rng = np.random.default_rng(seed)
    images = rng.integers(120, 255, (count, 32, 32), dtype=np.uint8)
    masks = np.zeros_like(images)
    for mask in masks:
        cv2.ellipse(mask, tuple(int(at) for at in rng.integers(12, 20, 2)), (8, 6), 0, 0, 360, 255, -1)
    return Columns({"images": np.where(masks > 0, images // 4, images).astype(np.uint8), "masks": masks})


def test_the_u_net_learns() -> None:
    task = LungTask(augmentation=Augmentation(flip=0.5, elastic=0.01))
    job = Job(task=task, train=lungs(64), validation=lungs(21, 1), config=CONFIG, seed=0)
    best = fit(LungNet(LUNGS, rngs=nnx.Rngs(0)), job).history.best
    assert best is not None
    assert best.figures["Dice"] > 0.85
    assert best.figures["Dice at 5%"] <= best.figures["Dice"]


def test_dice_is_the_share_of_what_both_say() -> None:
    ours = jnp.zeros((3, 4, 4)).at[0].set(1.0).at[1, :2].set(1.0)
    theirs = jnp.zeros((3, 4, 4)).at[0].set(1.0).at[1, 1:3].set(1.0)
    np.testing.assert_allclose(dice(ours, theirs, 1e-6), [1.0, 0.5, 1.0], atol=1e-6)


@pytest.mark.parametrize("count", [1, 65])
def test_prediction_drops_no_example(count: int) -> None:
    reader = random_reader(ReaderArchitecture(lungs=LUNGS, classifier=CLASSIFIER, field=16))
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32), dtype=np.uint8)
    prediction = predict(reader, pixels)
    assert isinstance(prediction, Prediction)
    assert {len(field) for field in (prediction.logits, prediction.maps, prediction.lungs)} == {count}
    np.testing.assert_allclose(prediction.logits[-1:], predict(reader, pixels[-1:]).logits, atol=1e-5)
