"""What an evaluation says, as one JSON document: figures of each finding, what was refused, and how it was made."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from models.bundle import Bundle
from radiolog import __version__
from training.bootstrap import LEVEL
from training.evaluation.findings import (
    FEW_IMAGES,
    FEW_OF_A_CLASS,
    Document,
    Plan,
    Sample,
    finding_document,
    kinds_document,
)
from training.evaluation.judge import Judgement
from training.metrics import ECE_BINS

FORMAT: Final = 1
_NAMES: Final = 20
_NO_CLASS: Final = "no class"


def summary(bundle: Bundle, judgement: Judgement, data: Mapping[str, Any], plan: Plan) -> Document:
    """The document of an evaluation.

    Args:
        bundle: the model.
        judgement: what it said.
        data: what the images are (`Source.describe`).
        plan: how figures are made.
    """
    samples = [Sample.of(bundle, column, judgement.judged) for column in range(len(bundle.findings))]
    return {
        "format": FORMAT,
        "bundle": _bundle(bundle),
        "operating_point": plan.point,
        "findings": {sample.finding.name: finding_document(sample, plan) for sample in samples},
        "kinds": kinds_document(bundle, judgement.judged, plan),
        "images": _images(judgement),
        "out_of_scope": _out_of_scope(judgement),
        "unreadable": _unreadable(judgement),
        "data": dict(data),
        "method": _method(plan),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": __version__,
    }


def _bundle(bundle: Bundle) -> Document:
    return {
        "id": bundle.id,
        "sha256": bundle.sha256,
        "spec": bundle.spec.id,
        "spec_sha256": bundle.spec.sha256,
        "lineage": dict(bundle.lineage),
    }


def _images(judgement: Judgement) -> Document:
    judged, problems = judgement.judged, judgement.problems
    classes: dict[str, set[str]] = defaultdict(set)
    for one in judged:
        classes[one.case.name].add(one.case.label)
    refused = sum(not one.reading.scope.in_scope for one in judged)
    return {
        "found": len(judged) + len(problems),
        "readable": len(judged),
        "unreadable": len(problems),
        "in_scope": len(judged) - refused,
        "out_of_scope": refused,
        "duplicates": len(judged) - len(classes),
        "contradictory": sum(len(labels) > 1 for labels in classes.values()),
        "patients": len({one.case.patient or one.case.name for one in judged}),
        "classes": _counted(one.case.label for one in judged),
    }


def _out_of_scope(judgement: Judgement) -> list[Document]:
    """What was refused; the numbers in a reason stand behind a colon and are left off, so that like comes to like."""
    return _by_reason(
        ((one.reading.scope.reason or "").partition(":")[0], one.case.name, one.case.label)
        for one in judgement.judged
        if not one.reading.scope.in_scope
    )


def _unreadable(judgement: Judgement) -> list[Document]:
    return _by_reason((problem.kind, problem.name, problem.label or _NO_CLASS) for problem in judgement.problems)


def _by_reason(found: Iterable[tuple[str, str, str]]) -> list[Document]:
    """Count images, each with its reason, name and class, by reason; the most frequent first."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for reason, name, label in found:
        groups[reason].append((name, label))
    return [
        {
            "reason": reason,
            "images": len(group),
            "classes": _counted(label for _, label in group),
            "names": [name for name, _ in group[:_NAMES]],
        }
        for reason, group in sorted(groups.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    ]


def _counted(labels: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(labels).items()))


def _method(plan: Plan) -> Document:
    return {
        "headline": "all readable images, by threshold alone: no model looks better by refusing or not deciding",
        "decided": "images in scope whose decision is present or absent",
        "intervals": (
            f"{LEVEL:.0%} percentile bootstrap, {plan.resamples} resamples of patients, those with and those without "
            "the finding drawn apart; an image whose patient is unknown is its own"
        ),
        "no_width": (
            "an interval without width means that no image lies on the other side, not that the figure is certain: if "
            "all of n are right, 3/n may still be wrong elsewhere"
        ),
        "resamples": plan.resamples,
        "seed": plan.seed,
        "level": LEVEL,
        "auprc": "average precision, without interpolation",
        "ece": (
            f"{ECE_BINS} bins of equal width: probability of the finding against the share that has it. Noise adds "
            "to it, so that its interval lies high"
        ),
        "small": f"under {FEW_IMAGES} images, or under {FEW_OF_A_CLASS} with or without the finding",
    }
