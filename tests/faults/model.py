"""A bundle whose network is so small that a process with it is ready soon: the suite tries the log, not the model."""

from pathlib import Path

import numpy as np
from flax import nnx

from models.bundle import Bundle, FindingSpec, SeverityBands, save_bundle
from models.classifier import Architecture, Classifier, export_weights
from models.scope import Scope
from models.spec import PreprocessSpec

ARCHITECTURE = Architecture(findings=1, stem=4, widths=(4,), blocks=1, groups=1)


def save_small_bundle(folder: Path) -> PreprocessSpec:
    """Writes the bundle, and gives the recipe of the pixels that it reads."""
    spec = PreprocessSpec(name="faults", version=1, size=32)
    finding = FindingSpec(
        code="233604007",
        name="pneumonia",
        temperature=1.0,
        bias=0.0,
        thresholds={"accuracy": 0.5},
        indeterminate_margin=0.0,
        severity=SeverityBands(map_level=1.0, moderate_from=0.25, severe_from=0.5),
    )
    scope = Scope(
        modalities=("CR",),
        body_parts=("CHEST",),
        min_std=1.0,
        max_distance=1e9,
        mean=np.zeros(ARCHITECTURE.widths[-1], np.float32),
        whitening=np.eye(ARCHITECTURE.widths[-1], dtype=np.float32),
    )
    bundle = Bundle(
        name="faults",
        version="1",
        architecture=ARCHITECTURE.to_json(),
        findings=(finding,),
        operating_point="accuracy",
        spec=spec,
        scope=scope,
        lineage={},
        metrics={},
        weights=export_weights(Classifier(ARCHITECTURE, rngs=nnx.Rngs(0))),
    )
    save_bundle(bundle, folder, "For the fault suite alone.")
    return spec
