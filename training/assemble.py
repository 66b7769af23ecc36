"""What is fitted on validation data once the networks stand, and the bundle that they make together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, FindingSpec, SeverityBands
from models.decision import area_share, lung_cells
from models.prediction import Prediction
from models.reader import Reader, export_weights
from models.scope import Scope
from training.calibrate import Calibration, choose_thresholds, fit_calibration, fit_whitening
from training.config import FindingConfig, TrainingConfig
from training.data import TrainingData
from training.findings import PARENT_CODES
from training.metrics import summarise
from training.predict import predict
from training.split import Split

_QUIET = 95
"""Percentile of what the map says of healthy lungs; more than that is marked."""
_LEAST = 1e-6
"""Of levels and bands: where the map says nothing, nothing is marked, and where nothing is marked, it is mild."""
_FEWEST_LUNGS = 0.1
"""Percentile of the training images' share of lung, half of which an image must have to be a chest."""


class GateError(Exception):
    """A model that is not good enough to be written as a bundle."""


def assemble(config: TrainingConfig, reader: Reader, data: TrainingData, lineage: Mapping[str, Any]) -> Bundle:
    """Calibrate a fitted network on validation data, hold it against the gate, then judge it on the test data.

    Raises:
        GateError: validation accuracy is below the least for a finding, or there is nothing to calibrate one by; the
            test data are not looked at then.
    """
    validation, labels = predict(reader, data.examples[Split.VALIDATION].pixels), data.examples[Split.VALIDATION].labels
    findings = tuple(
        _calibrate(config, finding, column, validation, labels) for column, finding in enumerate(config.findings)
    )
    metrics = _figures(config, findings, Split.VALIDATION, validation, labels)
    _pass_gate(config, findings, metrics)
    if (test := data.examples.get(Split.TEST)) is not None and len(test):
        metrics |= _figures(config, findings, Split.TEST, predict(reader, test.pixels), test.labels)
    scope = _fit_scope(config, predict(reader, data.examples[Split.TRAIN].pixels), validation)
    return Bundle(
        name=config.name,
        version=config.version,
        architecture=config.architecture.to_json(),
        findings=findings,
        operating_point=config.operating_point,
        spec=config.spec,
        scope=scope,
        lineage=lineage,
        metrics=metrics,
        weights=export_weights(reader),
    )


def _pass_gate(
    config: TrainingConfig, findings: tuple[FindingSpec, ...], metrics: Mapping[str, Mapping[str, float]]
) -> None:
    """Kinds of a finding are held to nothing: to tell them apart is harder than to see the finding."""
    for finding in findings:
        accuracy = metrics[f"{Split.VALIDATION}/{finding.name}"]["accuracy"]
        if finding.parent is None and accuracy < config.min_accuracy:
            raise GateError(f"{finding.name}: validation accuracy {accuracy:.3f} is below {config.min_accuracy}")


def _calibrate(
    config: TrainingConfig, finding: FindingConfig, column: int, outputs: Prediction, labels: NDArray[np.float32]
) -> FindingSpec:
    known = ~np.isnan(labels[:, column])
    true, logits = labels[known, column], outputs.logits[known, column]
    try:
        calibration = fit_calibration(logits, true)
        thresholds = choose_thresholds(calibration.probabilities(logits), true, prevalence=config.prevalence)
    except ValueError as error:
        raise GateError(f"{finding.name}: {error}") from error
    codes = {each.code for each in config.findings}
    parent = PARENT_CODES.get(finding.code)
    return FindingSpec(
        code=finding.code,
        name=finding.name,
        temperature=calibration.temperature,
        bias=calibration.bias,
        thresholds=thresholds,
        indeterminate_margin=config.indeterminate_margin,
        severity=_severity_bands(outputs.maps[known, column], outputs.lungs[known], true),
        parent=parent if parent in codes else None,
    )


def _severity_bands(maps: NDArray[np.float32], lungs: NDArray[np.float32], true: NDArray[np.float32]) -> SeverityBands:
    """Mark what only one cell in twenty of healthy lungs reaches; terciles of the positives' shares are the bands."""
    cells = np.stack([lung_cells(each, maps.shape[1:]) for each in lungs])
    healthy = maps[true < 0.5][cells[true < 0.5] >= 0.5]
    level = max(float(np.percentile(healthy, _QUIET)) if healthy.size else 0.0, _LEAST)
    shares = [area_share(values, level, lung) for values, lung in zip(maps[true > 0.5], cells[true > 0.5], strict=True)]
    moderate, severe = (max(float(share), _LEAST) for share in np.percentile(shares, [100 / 3, 200 / 3]))
    return SeverityBands(map_level=level, moderate_from=moderate, severe_from=severe)


def _figures(
    config: TrainingConfig,
    findings: tuple[FindingSpec, ...],
    part: Split,
    outputs: Prediction,
    labels: NDArray[np.float32],
) -> dict[str, dict[str, float]]:
    figures = {}
    for column, finding in enumerate(findings):
        known = ~np.isnan(labels[:, column])
        probabilities = Calibration(finding.temperature, finding.bias).probabilities(outputs.logits[known, column])
        threshold = finding.thresholds[config.operating_point]
        figures[f"{part}/{finding.name}"] = summarise(probabilities, labels[known, column], threshold)
    return figures


def _fit_scope(config: TrainingConfig, train: Prediction, validation: Prediction) -> Scope:
    mean, whitening = fit_whitening(train.embeddings, config.scope_shrinkage)
    least = np.percentile(train.lungs.mean(axis=(1, 2)), _FEWEST_LUNGS) / 2

    def scope(max_distance: float) -> Scope:
        return Scope(
            modalities=config.modalities,
            body_parts=config.body_parts,
            min_std=config.min_std,
            min_lungs=float(least),
            max_distance=max_distance,
            mean=mean,
            whitening=whitening,
        )

    distances = scope(np.inf).distance(validation.embeddings)
    return scope(float(np.percentile(distances, config.scope_percentile)))
