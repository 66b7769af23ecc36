"""From a labelled archive to a bundle: split, fit, calibrate, look at the test split once, write."""

import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.bundle import Bundle, FindingSpec, SeverityBands, save_bundle
from models.classifier import Architecture, Classifier, export_weights
from models.prediction import Prediction
from models.scope import Scope
from training.archive import Example, Examples, LabelledArchive, Split, prepare, split_by_patient
from training.calibrate import Calibration, choose_thresholds, fit_calibration, fit_whitening
from training.card import write_card
from training.config import FindingConfig, TrainingConfig, load_config
from training.fit import Epoch, fit, predict
from training.metrics import summarise


class GateError(Exception):
    """A model that is not good enough to be written as a bundle."""


def main(config_path: Path, archive: Path, out: Path, console: Console | None = None) -> Bundle:
    """Train by a configuration file and write the bundle to the folder `out`.

    Raises:
        ConfigError, ArchiveError: the input cannot be used.
        NonFiniteLossError: the fit diverged.
        GateError: validation accuracy is below the configuration's least; nothing is written.
    """
    config = load_config(config_path)
    console = console or Console(stderr=True)
    started = time.monotonic()
    with LabelledArchive(archive) as source:
        parts = split_by_patient(source.examples, config.shares, config.seed)
        data = {part: _prepare(source, examples, part, config, console) for part, examples in parts.items()}
        lineage = _lineage(source, parts, config)
    model = _fit(config, data[Split.TRAIN], data[Split.VALIDATION], console)
    bundle = assemble(config, model, data, {**lineage, "training_seconds": round(time.monotonic() - started)})
    save_bundle(bundle, out, write_card(bundle, config))
    for part, figures in bundle.metrics.items():
        console.print(part, "  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    console.print(f"{bundle.id} ({bundle.sha256[:12]}) is in {out}")
    return bundle


def assemble(
    config: TrainingConfig,
    model: Classifier,
    data: Mapping[Split, Examples],
    lineage: Mapping[str, Any],
) -> Bundle:
    """Calibrate a fitted network on validation data, hold it against the gate, then judge it on the test data.

    Raises:
        GateError: validation accuracy is below the least for a finding; the test data are not looked at then.
    """
    validation = predict(model, data[Split.VALIDATION].pixels)
    labels = data[Split.VALIDATION].labels
    findings = tuple(
        _calibrate(config, finding, column, validation, labels) for column, finding in enumerate(config.findings)
    )
    metrics = _figures(config, findings, Split.VALIDATION, validation, labels)
    for finding in config.findings:
        accuracy = metrics[f"{Split.VALIDATION}/{finding.name}"]["accuracy"]
        if accuracy < config.min_accuracy:
            raise GateError(f"{finding.name}: validation accuracy {accuracy:.3f} is below {config.min_accuracy}")
    if data[Split.TEST].labels.size:
        test = predict(model, data[Split.TEST].pixels)
        metrics |= _figures(config, findings, Split.TEST, test, data[Split.TEST].labels)
    scope = _fit_scope(config, predict(model, data[Split.TRAIN].pixels), validation)
    return Bundle(
        name=config.name,
        version=config.version,
        architecture=_architecture(config).to_json(),
        findings=findings,
        operating_point=config.operating_point,
        spec=config.spec,
        scope=scope,
        lineage=lineage,
        metrics=metrics,
        weights=export_weights(model),
    )


def _prepare(
    source: LabelledArchive,
    examples: tuple[Example, ...],
    part: Split,
    config: TrainingConfig,
    console: Console,
) -> Examples:
    with _progress(console) as progress:
        task = progress.add_task(f"{part}: reading", total=len(examples))
        return prepare(
            source,
            examples,
            [finding.name for finding in config.findings],
            config.spec,
            config.log_aspect,
            lambda: progress.advance(task),
        )


def _fit(config: TrainingConfig, train: Examples, validation: Examples, console: Console) -> Classifier:
    model = Classifier(_architecture(config), rngs=nnx.Rngs(config.seed))
    with _progress(console) as progress:
        task = progress.add_task("fitting", total=config.fit.epochs * (len(train) // config.fit.batch))

        def report(epoch: Epoch) -> None:
            progress.console.print(
                f"epoch {epoch.number:3d}  train loss {epoch.train_loss:.4f}  "
                f"validation loss {epoch.validation_loss:.4f}  AUROC {epoch.validation_auroc:.4f}"
            )

        return fit(
            model,
            train,
            validation,
            config.fit,
            config.augmentation,
            config.seed,
            on_step=lambda: progress.advance(task),
            on_epoch=report,
        )


def _architecture(config: TrainingConfig) -> Architecture:
    return Architecture(
        findings=len(config.findings),
        stem=config.stem,
        widths=config.widths,
        blocks=config.blocks,
        groups=config.groups,
    )


def _calibrate(
    config: TrainingConfig, finding: FindingConfig, column: int, outputs: Prediction, labels: NDArray[Any]
) -> FindingSpec:
    true = labels[:, column]
    logits = outputs.logits[:, column]
    calibration = fit_calibration(logits, true)
    return FindingSpec(
        code=finding.code,
        name=finding.name,
        temperature=calibration.temperature,
        bias=calibration.bias,
        thresholds=choose_thresholds(calibration.probabilities(logits), true),
        indeterminate_margin=config.indeterminate_margin,
        severity=_severity_bands(outputs.maps[:, column], true),
    )


def _severity_bands(maps: NDArray[Any], true: NDArray[Any]) -> SeverityBands:
    """Mark what only one cell in twenty of the negatives reaches; terciles of the positives' shares are the bands."""
    level = max(float(np.percentile(maps[true < 0.5], 95)), 1e-6)
    shares = np.mean(maps[true > 0.5] >= level, axis=(1, 2))
    moderate, severe = (float(share) for share in np.percentile(shares, [100 / 3, 200 / 3]))
    return SeverityBands(map_level=level, moderate_from=moderate, severe_from=severe)


def _figures(
    config: TrainingConfig,
    findings: tuple[FindingSpec, ...],
    part: Split,
    outputs: Prediction,
    labels: NDArray[Any],
) -> dict[str, dict[str, float]]:
    figures = {}
    for column, finding in enumerate(findings):
        calibration = Calibration(finding.temperature, finding.bias)
        probabilities = calibration.probabilities(outputs.logits[:, column])
        threshold = finding.thresholds[config.operating_point]
        figures[f"{part}/{finding.name}"] = summarise(probabilities, labels[:, column], threshold)
    return figures


def _fit_scope(config: TrainingConfig, train: Prediction, validation: Prediction) -> Scope:
    mean, whitening = fit_whitening(train.embeddings, config.scope_shrinkage)

    def scope(max_distance: float) -> Scope:
        return Scope(
            modalities=config.modalities,
            body_parts=config.body_parts,
            min_std=config.min_std,
            max_distance=max_distance,
            mean=mean,
            whitening=whitening,
        )

    distances = scope(np.inf).distance(validation.embeddings)
    return scope(float(np.percentile(distances, config.scope_percentile)))


def _lineage(
    source: LabelledArchive, parts: Mapping[Split, tuple[Example, ...]], config: TrainingConfig
) -> dict[str, Any]:
    return {
        "archive": source.path.name,
        "archive_sha256": source.sha256(),
        "images": {str(part): len(examples) for part, examples in parts.items()},
        "patients": {str(part): len({example.patient for example in examples}) for part, examples in parts.items()},
        "shares": {str(part): share for part, share in config.shares.items()},
        "seed": config.seed,
        "log_aspect": list(config.log_aspect),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "platform": jax.default_backend(),
    }


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
