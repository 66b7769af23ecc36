"""What becomes of a model's answers when pictures are changed in ways that change no finding (`training.attacks`)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from models.bundle import Bundle
from training.attacks import ATTACKS
from training.evaluation.findings import Document, Plan, Sample, plain
from training.evaluation.folder import Change
from training.evaluation.judge import Judged, Predictor, calls, judge
from training.evaluation.source import Source
from training.metrics import Scored, figures, single
from training.progress import counted

UNCHANGED = "none"
FIGURES = ("accuracy", "recall", "specificity", "auroc")


def robustness(predictor: Predictor, changed: Callable[[Change], Source], plan: Plan, console: Console) -> Document:
    """Judge every image once more under each attack.

    Args:
        predictor: the model.
        changed: gives the images, each picture changed before anything else is made of it.
        plan: how figures are made.
        console: where progress goes.

    Returns:
        By finding, then by attack: some figures over all readable images, and the share of images whose call differs
        from that of the picture as it is.
    """
    said = {}
    for name, change in ATTACKS.items():
        source = changed(change)
        with counted(console, f"changed: {name}", len(source)) as advance:
            said[name] = judge(predictor, source, plan.point, advance=advance).judged
    bundle = predictor.bundle
    return {
        finding.name: {name: _figures(bundle, column, judged, said[UNCHANGED], plan) for name, judged in said.items()}
        for column, finding in enumerate(bundle.findings)
    }


def _figures(bundle: Bundle, column: int, judged: list[Judged], before: list[Judged], plan: Plan) -> dict[str, Any]:
    sample = Sample.of(bundle, column, judged)
    called = _called(bundle, column, sample.judged, plan)
    as_it_was = _called(bundle, column, Sample.of(bundle, column, before).judged, plan)
    values = plain(single(figures(Scored.of(sample.probabilities[:, column], sample.true, called))))
    refused = [not one.reading.scope.in_scope for one in sample.judged]
    return {
        "images": len(sample.judged),
        **{name: values[name] for name in FIGURES},
        "changed": float(np.mean(called != as_it_was)) if len(called) == len(as_it_was) and len(called) else None,
        "out_of_scope": float(np.mean(refused)) if refused else None,
    }


def _called(bundle: Bundle, column: int, judged: Any, plan: Plan) -> NDArray[np.bool_]:
    probabilities = np.array([one.probabilities for one in judged], np.float64).reshape(-1, len(bundle.findings))
    return calls(bundle, probabilities, plan.point)[:, column]
