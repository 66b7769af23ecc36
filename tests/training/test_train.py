from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models.bundle import load_bundle
from models.decision import calibrate, interpret
from models.engine import Engine
from models.spec import PreprocessSpec
from tests.networks import random_reader
from training.archive import LabelledArchive, Split, prepare, split_by_patient
from training.assemble import GateError
from training.config import ConfigError, TrainingConfig, load_config
from training.data import from_archive
from training.fit import Fitted
from training.fit.history import History
from training.run_folder import RunFolder
from training.train import train

MakeArchive = Callable[..., Path]

CONFIG = """
from models.classifier import Architecture
from models.lungs import LungArchitecture
from models.spec import PreprocessSpec
from training.augment import Augmentation
from training.config import ClassifierConfig, FindingConfig, FitConfig, LungsConfig, TrainingConfig
from training.split import Split


def get_config():
    return TrainingConfig(
        name="tiny",
        version="1",
        findings=(FindingConfig(code="233604007", name="pneumonia"),),
        spec=PreprocessSpec(name="tiny", version=1, size=32),
        lungs=LungsConfig(
            architecture=LungArchitecture(widths=(8, 16), groups=4),
            augmentation=Augmentation(flip=0.5, noise=0.01),
            fit=FitConfig(epochs=4, batch=16, learning_rate=1e-2, ema=0.8, patience=20),
        ),
        classifier=ClassifierConfig(
            architecture=Architecture(findings=1, widths=(8, 16), blocks=(1, 1), groups=4, context=0.1),
            field=32,
            augmentation=Augmentation(flip=0.5, noise=0.01),
            fit=FitConfig(epochs=EPOCHS, batch=16, learning_rate=5e-3, ema=0.8, patience=20),
        ),
        shares={Split.TRAIN: 0.7, Split.VALIDATION: 0.15, Split.TEST: 0.15},
        min_accuracy=0.9,
        data="Discs on noise",
        limits="Knows nothing of medicine.",
    )
"""


@pytest.fixture(scope="module")
def archive(make_archive: MakeArchive) -> Path:
    return make_archive(images=240, patients=120)


@pytest.fixture(scope="module")
def masks(make_masks: MakeArchive, archive: Path) -> Path:
    return make_masks(archive)


def write_config(folder: Path, epochs: int) -> Path:
    path = folder / "tiny.py"
    path.write_text(CONFIG.replace("EPOCHS", str(epochs)))
    return path


@pytest.fixture(scope="module")
def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def trained(archive: Path, masks: Path, quiet: Console, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = load_config(write_config(folder, epochs=15))
    data = from_archive(archive, masks, config, quiet)
    train(config, data, folder / "bundle", run=RunFolder(path=folder / "run"), console=quiet)
    return folder / "bundle"


def test_a_bundle_comes_out_that_knows_the_task(trained: Path, archive: Path) -> None:
    bundle = load_bundle(trained)
    assert bundle.metrics["validation/pneumonia"]["accuracy"] >= 0.9
    assert bundle.metrics["test/pneumonia"]["images"] == bundle.lineage["images"]["test"] > 0
    with LabelledArchive(archive) as source:
        assert bundle.lineage["archive_sha256"] == source.sha256()
        shares = {Split(part): share for part, share in bundle.lineage["shares"].items()}
        examples = split_by_patient(source.examples, shares, bundle.lineage["seed"])[Split.TEST]
        test = prepare(source, examples, ["pneumonia"], bundle.spec)
    probabilities = calibrate(bundle, Engine(bundle).predict(test.pixels).logits)[:, 0]
    right = (probabilities >= bundle.findings[0].thresholds["accuracy"]) == (test.labels[:, 0] > 0.5)
    assert right.mean() == pytest.approx(bundle.metrics["test/pneumonia"]["accuracy"])


def test_the_card_tells_the_figures_and_the_limits(trained: Path) -> None:
    card = (trained / "card.md").read_text()
    assert "Knows nothing of medicine." in card
    assert "| test/pneumonia |" in card
    assert "233604007" in card


def test_the_scope_is_fitted_to_what_was_seen(trained: Path, archive: Path) -> None:
    bundle = load_bundle(trained)
    with LabelledArchive(archive) as source:
        pixels = prepare(source, source.examples, ["pneumonia"], bundle.spec).pixels
    prediction = Engine(bundle).predict(pixels)
    readings = interpret(bundle, prediction)
    assert np.mean([reading.scope.in_scope for reading in readings]) >= 0.9
    without = replace(prediction, lungs=prediction.lungs * 0.1)
    assert not any(reading.scope.in_scope for reading in interpret(bundle, without))
    far = replace(prediction, embeddings=prediction.embeddings + 10 * prediction.embeddings.std())
    assert not any(reading.scope.in_scope for reading in interpret(bundle, far))


def test_a_model_below_the_gate_is_not_written(
    archive: Path, trained: Path, quiet: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(load_config(write_config(tmp_path, epochs=1)), min_accuracy=1.01)
    knows_nothing = Fitted(random_reader(config.architecture).classifier, History())
    monkeypatch.setattr("training.train.fit_classifier", lambda *_: knows_nothing)
    data, run = from_archive(archive, None, config, quiet), RunFolder(path=tmp_path / "run")
    with pytest.raises(GateError, match=r"is below 1\.01"):
        train(config, data, tmp_path / "bundle", run=run, lungs=str(trained), console=quiet)
    assert not (tmp_path / "bundle").exists()


def test_configurations_are_python_files(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, epochs=3))
    assert config.classifier.fit.epochs == 3
    assert replace(config, seed=1) != config
    with pytest.raises(ConfigError, match="not a Python file"):
        load_config(tmp_path / "gone.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ConfigError, match="get_config"):
        load_config(tmp_path / "empty.py")


def test_the_shipped_configuration_is_what_the_shipped_bundle_was_made_by() -> None:
    path = Path(__file__).parents[2] / "training" / "configs" / "chest_pneumonia.py"
    config, bundle = load_config(path), load_bundle("default")
    assert isinstance(config, TrainingConfig)
    assert isinstance(config.spec, PreprocessSpec)
    assert (config.name, config.version, config.spec) == (bundle.name, bundle.version, bundle.spec)
    assert bundle.lineage["seed"] == config.seed
    assert bundle.metrics["validation/pneumonia"]["accuracy"] >= config.min_accuracy
