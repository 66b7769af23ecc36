"""The two networks around their fits: whose lungs are taken, what is found by them, how they are joined."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from models.bundle import Bundle, BundleError, FindingSpec, SeverityBands, save_bundle
from models.lung_field import WHOLE, lung_boxes
from models.lungs import LungArchitecture
from models.reader import Reader, export_weights
from models.scope import Scope
from models.spec import PreprocessSpec
from tests.networks import random_reader
from tests.training.test_train import write_config
from training.config import ConfigError, TrainingConfig, load_config
from training.examples import Examples
from training.networks import fields, find_lungs, fit_classifier, joined, lungs_of
from training.run_folder import RunFolder
from training.split import Split

SIZE = 32


class DarkIsLung(nnx.Module):
    """Takes for lung what is dark."""

    def __call__(self, images: jax.Array) -> jax.Array:
        levels = images.reshape(len(images), SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
        return jnp.where(levels < 64, 20.0, -20.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    return load_config(write_config(tmp_path_factory.mktemp("config"), epochs=1))


@pytest.fixture(scope="module")
def reader(config: TrainingConfig) -> Reader:
    return random_reader(config.architecture)


@pytest.fixture
def folder(config: TrainingConfig, reader: Reader, tmp_path: Path) -> Path:
    """A bundle of the configuration's shape."""
    save_bundle(bundle_of(config, reader), tmp_path / "bundle", "A card.")
    return tmp_path / "bundle"


def bundle_of(config: TrainingConfig, reader: Reader) -> Bundle:
    bands = SeverityBands(map_level=1.0, moderate_from=0.25, severe_from=0.5)
    (finding,) = config.findings
    return Bundle(
        name="lungs",
        version="1",
        architecture=config.architecture.to_json(),
        findings=(
            FindingSpec(
                code=finding.code,
                name=finding.name,
                temperature=1.0,
                bias=0.0,
                thresholds={"accuracy": 0.5},
                indeterminate_margin=0.0,
                severity=bands,
            ),
        ),
        operating_point="accuracy",
        spec=config.spec,
        scope=Scope(
            modalities=("CR",),
            body_parts=("CHEST",),
            min_std=1.0,
            min_lungs=0.0,
            max_distance=1.0,
            mean=np.zeros(2, np.float32),
            whitening=np.eye(2, dtype=np.float32),
        ),
        lineage={},
        metrics={},
        weights=export_weights(reader),
    )


def test_lungs_are_those_of_the_bundle(config: TrainingConfig, reader: Reader, folder: Path) -> None:
    taken = lungs_of(str(folder), config)
    expected = export_weights(reader.lungs)
    assert export_weights(taken).keys() == expected.keys()
    for name, values in export_weights(taken).items():
        np.testing.assert_array_equal(values, expected[name])


def test_lungs_of_another_shape_or_of_other_pixels_are_refused(config: TrainingConfig, folder: Path) -> None:
    other = replace(config.lungs, architecture=LungArchitecture(widths=(8,), groups=4))
    for changed in (
        replace(config, lungs=other),
        replace(config, spec=PreprocessSpec(name="tiny", version=2, size=SIZE)),
    ):
        with pytest.raises(ConfigError, match="the lungs of lungs@1 are of another spec or shape than those of tiny"):
            lungs_of(str(folder), changed)
    with pytest.raises(BundleError, match="no bundle"):
        lungs_of(str(folder / "gone"), config)


@pytest.mark.parametrize("count", [1, 65])
def test_lungs_are_found_in_every_image(count: int) -> None:
    """In a batch that is not full too; a box moves with its image."""
    pixels = np.full((count, SIZE, SIZE), 255, np.uint8)
    pixels[::2, 8:24, 4 : 4 + 16] = 0
    likely, boxes = find_lungs(DarkIsLung(), pixels)
    assert (likely.dtype, likely.shape) == (np.uint8, (count, SIZE // 2, SIZE // 2))
    expected = (pixels[:, ::2, ::2] < 64) * 255
    np.testing.assert_array_equal(likely, expected)
    np.testing.assert_allclose(boxes, lung_boxes(jnp.asarray(expected / 255.0)), atol=1e-5)
    if count > 1:
        np.testing.assert_array_equal(boxes[1], WHOLE)


def test_fields_are_of_the_examples_that_they_stand_beside() -> None:
    pixels = np.full((3, SIZE, SIZE), 255, np.uint8)
    pixels[1, :16] = 0
    labels = np.float32([[0], [1], [np.nan]])
    columns = fields(DarkIsLung(), Examples(pixels, labels)).arrays
    assert set(columns) == {"images", "lungs", "boxes", "labels"}
    np.testing.assert_array_equal(columns["labels"], labels)
    np.testing.assert_array_equal(columns["lungs"].any(axis=(1, 2)), [False, True, False])


def test_joined_networks_are_both_as_they_were(config: TrainingConfig, reader: Reader) -> None:
    whole = joined(config.architecture, reader.lungs, reader.classifier)
    expected = export_weights(reader)
    assert export_weights(whole).keys() == expected.keys()
    for name, values in export_weights(whole).items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_contact_sheet_is_captioned_by_the_last_finding(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = []

    class Done:
        model = None

    def fit_part(name, model, job, run, look, console):
        looks.append((name, look, job))
        return Done()

    monkeypatch.setattr("training.networks.fit_part", fit_part)
    monkeypatch.setattr("training.networks.Classifier", lambda *shape, **rngs: None)
    two = replace(config, findings=(config.findings[0], replace(config.findings[0], code="1", name="kind")))
    pixels = np.zeros((5, SIZE, SIZE), np.uint8)
    labels = np.float32([[0, 0], [1, 0], [1, 1], [1, np.nan], [np.nan, np.nan]])
    some = {Split.TRAIN: Examples(pixels, labels), Split.VALIDATION: Examples(pixels[:2], labels[:2])}
    fit_classifier(two, DarkIsLung(), some, RunFolder(path=tmp_path), Console(quiet=True))
    ((name, look, job),) = looks
    assert name == "classifier"
    assert look.captions == ("normal", "pneumonia", "kind", "pneumonia", "normal")
    assert (len(job.train), len(job.validation)) == (5, 2)
