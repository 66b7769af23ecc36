from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from models.bundle import load_bundle
from models.classifier import Architecture, Classifier
from models.decision import calibrate
from models.engine import Engine
from models.spec import PreprocessSpec
from training.archive import Examples, LabelledArchive, Split, prepare, split_by_patient
from training.augment import Augmentation
from training.config import ConfigError, FitConfig, TrainingConfig, load_config
from training.fit import Epoch, NonFiniteLossError, fit, predict
from training.train import GateError, main

MakeArchive = Callable[..., Path]

CONFIG = """
from models.spec import PreprocessSpec
from training.augment import Augmentation
from training.config import FindingConfig, FitConfig, TrainingConfig


def get_config():
    return TrainingConfig(
        name="tiny",
        version="1",
        findings=(FindingConfig(code="233604007", name="pneumonia"),),
        spec=PreprocessSpec(name="tiny", version=1, size=32),
        stem=8,
        widths=(8, 16),
        blocks=1,
        groups=4,
        log_aspect=(0.0, 0.0),
        augmentation=Augmentation(flip=0.5, noise=0.01),
        fit=FitConfig(epochs=EPOCHS, batch=16, learning_rate=5e-3, ema=0.8, patience=20),
        min_accuracy=0.9,
        data="Discs on noise",
        limits="Knows nothing of medicine.",
    )
"""


@pytest.fixture(scope="module")
def archive(make_archive: MakeArchive) -> Path:
    return make_archive(images=240, patients=120)


def write_config(folder: Path, epochs: int) -> Path:
    path = folder / "tiny.py"
    path.write_text(CONFIG.replace("EPOCHS", str(epochs)))
    return path


@pytest.fixture(scope="module")
def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def trained(archive: Path, quiet: Console, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    main(write_config(folder, epochs=15), archive, folder / "bundle", quiet)
    return folder / "bundle"


def test_a_bundle_comes_out_that_knows_the_task(trained: Path, archive: Path) -> None:
    bundle = load_bundle(trained)
    assert bundle.metrics["validation/pneumonia"]["accuracy"] >= 0.9
    assert bundle.metrics["test/pneumonia"]["images"] == bundle.lineage["images"]["test"] > 0
    with LabelledArchive(archive) as source:
        assert bundle.lineage["archive_sha256"] == source.sha256()
        shares = {Split(part): share for part, share in bundle.lineage["shares"].items()}
        examples = split_by_patient(source.examples, shares, bundle.lineage["seed"])[Split.TEST]
        test = prepare(source, examples, ["pneumonia"], bundle.spec, (0.0, 0.0))
    probabilities = calibrate(bundle, Engine(bundle).predict(test.pixels).logits)[:, 0]
    right = (probabilities >= bundle.findings[0].thresholds["accuracy"]) == (test.labels[:, 0] > 0.5)
    assert right.mean() == pytest.approx(bundle.metrics["test/pneumonia"]["accuracy"])


def test_the_card_tells_the_figures_and_the_limits(trained: Path) -> None:
    card = (trained / "card.md").read_text()
    assert "Knows nothing of medicine." in card
    assert "| test/pneumonia |" in card
    assert "233604007" in card


def test_the_scope_refuses_what_was_never_seen(trained: Path) -> None:
    bundle = load_bundle(trained)
    stripes = np.zeros((1, 32, 32), np.uint8)
    stripes[:, ::2] = 255
    distance = bundle.scope.distance(Engine(bundle).predict(stripes).embeddings)
    assert distance[0] > bundle.scope.max_distance


def test_a_model_below_the_gate_is_not_written(archive: Path, quiet: Console, tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1)
    config.write_text(config.read_text().replace("min_accuracy=0.9", "min_accuracy=1.01"))
    with pytest.raises(GateError, match=r"is below 1\.01"):
        main(config, archive, tmp_path / "bundle", quiet)
    assert not (tmp_path / "bundle").exists()


@pytest.fixture(scope="module")
def examples() -> Examples:
    rng = np.random.default_rng(0)
    labels = (rng.random((64, 1)) < 0.5).astype(np.float32)
    pixels = rng.integers(0, 120, (64, 32, 32), dtype=np.uint8) + np.uint8(100) * labels.astype(np.uint8)[..., None]
    return Examples(pixels, labels)


def network() -> Classifier:
    architecture = Architecture(findings=1, stem=8, widths=(8,), blocks=1, groups=4)
    return Classifier(architecture, rngs=nnx.Rngs(0))


def run(examples: Examples, config: FitConfig, seed: int = 0) -> tuple[Classifier, list[Epoch]]:
    epochs: list[Epoch] = []
    model = fit(network(), examples, examples, config, Augmentation(), seed, on_epoch=epochs.append)
    return model, epochs


def test_the_loss_falls_and_the_seed_decides(examples: Examples) -> None:
    config = FitConfig(epochs=4, batch=16, ema=0.5)
    model, epochs = run(examples, config)
    again, _ = run(examples, config)
    other, _ = run(examples, config, seed=1)
    assert epochs[-1].train_loss < epochs[0].train_loss
    logits = predict(model, examples.pixels).logits
    np.testing.assert_array_equal(logits, predict(again, examples.pixels).logits)
    assert np.abs(logits - predict(other, examples.pixels).logits).max() > 1e-6


def test_it_stops_when_validation_no_longer_improves(examples: Examples) -> None:
    turned = Examples(examples.pixels, 1 - examples.labels)
    epochs: list[Epoch] = []
    config = FitConfig(epochs=30, batch=16, learning_rate=2e-2, ema=0.1, patience=2)
    fit(network(), examples, turned, config, Augmentation(), 0, on_epoch=epochs.append)
    best = int(np.argmin([epoch.validation_loss for epoch in epochs]))
    assert len(epochs) == best + 3 < 30


def test_a_loss_that_is_no_number_stops_the_run(examples: Examples) -> None:
    labels = examples.labels.copy()
    labels[7] = np.nan
    with pytest.raises(NonFiniteLossError, match="epoch 1"):
        run(Examples(examples.pixels, labels), FitConfig(epochs=2, batch=16))


def test_a_batch_must_be_filled(examples: Examples) -> None:
    with pytest.raises(ValueError, match="64 training images"):
        run(examples, FitConfig(epochs=1, batch=65))


@pytest.mark.parametrize("count", [1, 63, 64, 65])
def test_prediction_drops_no_example(count: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32), dtype=np.uint8)
    prediction = predict(network(), pixels)
    assert len(prediction.logits) == len(prediction.maps) == len(prediction.embeddings) == count
    np.testing.assert_allclose(prediction.logits[-1:], predict(network(), pixels[-1:]).logits, atol=1e-5)


def test_configurations_are_python_files(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, epochs=3))
    assert config.fit.epochs == 3
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
