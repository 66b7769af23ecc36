"""From labelled images to a bundle: find the lungs, fit, calibrate, look at the test split once, write."""

import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flax
import jax
from rich.console import Console

from models.bundle import Bundle, save_bundle
from training.assemble import assemble
from training.card import write_card
from training.config import TrainingConfig
from training.data import TrainingData
from training.networks import fit_classifier, fit_lungs, joined, lungs_of
from training.parallel import is_primary
from training.run_folder import RunFolder


def train(
    config: TrainingConfig,
    data: TrainingData,
    out: Path,
    *,
    run: RunFolder,
    lungs: str = "default",
    console: Console | None = None,
) -> Bundle:
    """Fit both networks and write the bundle to the folder `out`.

    Args:
        config: the configuration.
        data: images and labels, and lung masks where the U-Net is to be fitted too.
        out: folder of the bundle.
        run: folder of checkpoints and the record.
        lungs: without masks, the bundle that the U-Net is taken from.
        console: where progress goes; standard error by default.

    Raises:
        BundleError, ConfigError: there is no U-Net to take, or it does not fit.
        TrainingError: the fit diverged, or the run folder holds another run; see `training.errors`.
        GateError: validation accuracy is below the configuration's least; nothing is written.
    """
    console, seconds = console or Console(stderr=True), 0.0
    if data.lungs is None:
        net = lungs_of(lungs, config)
    else:
        fitted = fit_lungs(config, data.lungs, run, console)
        net, seconds = fitted.model, fitted.history.seconds
    classifier = fit_classifier(config, net, data.examples, run, console)
    reader = joined(config.architecture, net, classifier.model)
    seconds += classifier.history.seconds
    lineage = {**data.lineage, **_lineage(config), "training_seconds": round(seconds)}
    bundle = assemble(config, reader, data, lineage)
    if is_primary():
        save_bundle(bundle, out, write_card(bundle, config))
        _say(bundle, out, console)
    return bundle


def _say(bundle: Bundle, out: Path, console: Console) -> None:
    for part, figures in bundle.metrics.items():
        console.print(part, "  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    console.print(f"{bundle.id} ({bundle.sha256[:12]}) is in {out}")


def _lineage(config: TrainingConfig) -> dict[str, Any]:
    return {
        "data": config.data,
        "limits": config.limits,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "platform": jax.default_backend(),
    }
