"""The report: one HTML page that needs nothing else, drawn by the templates of `training/report`."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from training.evaluation.gallery import Error
from training.metrics import FIGURES
from training.templates import HTML

_TEMPLATE: Final = "report.html.j2"
_NAMES: Final[Mapping[str, str]] = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Sensitivity (recall)",
    "specificity": "Specificity",
    "f1": "F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "ece": "Calibration error (ECE)",
    "brier": "Brier score",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """An error as the page shows it.

    Attributes:
        name: of the image.
        label: its class.
        decision: what was said.
        probability: of the finding.
        threshold: that it was held against.
        severity: that was said with it.
        area: share of the lungs that the explanation marks.
        source: the JPEG as a data URI.
    """

    name: str
    label: str
    decision: str
    probability: float
    threshold: float
    severity: str
    area: float
    source: str

    @classmethod
    def of(cls, error: Error, jpeg: bytes) -> Self:
        """An error with its picture."""
        said = error.finding
        source = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        words = str(said.decision), said.probability, said.threshold, str(said.severity), said.area_share
        return cls(error.name, error.label, *words, source)


def render(document: Mapping[str, Any], pictures: Mapping[str, Sequence[Picture]]) -> str:
    """The page.

    Args:
        document: `evaluation.json`: the summary with its curves.
        pictures: errors by finding.
    """
    floors = {name: _floor(finding["subgroups"]) for name, finding in document["findings"].items()}
    return HTML.get_template(_TEMPLATE).render(
        evaluation=document, pictures=pictures, names=_NAMES, figures=FIGURES, floors=floors
    )


def _floor(subgroups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> float:
    """Where the axis of the subgroups' accuracies begins: a full tenth at or below all of them that mean something."""
    low = [
        group["intervals"]["accuracy"]
        for groups in subgroups.values()
        for group in groups.values()
        if not group["small"]
    ]
    lowest = min((ends[0] for ends in low if ends is not None), default=0.0)
    return min(9, math.floor(10 * lowest)) / 10
