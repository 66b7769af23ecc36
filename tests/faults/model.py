"""A bundle whose network is so small that a process with it is ready soon: the suite tries the log, not the model."""

from pathlib import Path

import numpy as np

from models.bundle import Bundle, FindingSpec, SeverityBands, save_bundle
from models.classifier import Architecture
from models.lungs import LungArchitecture
from models.reader import ReaderArchitecture, export_weights
from models.scope import Scope
from models.spec import PreprocessSpec
from tests.networks import random_reader

CLASSIFIER = Architecture(findings=1, widths=(4,), blocks=(1,), groups=1, context=0.1)
ARCHITECTURE = ReaderArchitecture(lungs=LungArchitecture(widths=(4, 4), groups=1), classifier=CLASSIFIER, field=16)


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
        min_lungs=0.0,
        max_distance=1e9,
        mean=np.zeros(CLASSIFIER.widths[-1], np.float32),
        whitening=np.eye(CLASSIFIER.widths[-1], dtype=np.float32),
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
        weights=export_weights(random_reader(ARCHITECTURE)),
    )
    save_bundle(bundle, folder, "For the fault suite alone.")
    return spec
