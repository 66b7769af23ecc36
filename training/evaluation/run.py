"""From a bundle and labelled images to figures, and to a folder with the report."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.bundle import Bundle
from training.card import write_card
from training.evaluation.findings import Document, Plan, Sample, finding_curves
from training.evaluation.gallery import Gallery, draw
from training.evaluation.healthy import Healthy
from training.evaluation.judge import Judged, Judgement, Predictor, judge
from training.evaluation.page import Picture, render
from training.evaluation.source import EvaluationError, Source
from training.evaluation.summary import summary

REPORT_FILE: Final = "report.html"
SUMMARY_FILE: Final = "evaluation.json"
IMAGES_FILE: Final = "images.csv"
FILES_FILE: Final = "files.csv"
CARD_FILE: Final = "card.md"


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """An evaluation that is done.

    Attributes:
        bundle: the model.
        plan: how the figures were made.
        judgement: what was said of each image.
        summary: the figures (`training.evaluation.summary`).
        gallery: the most confident errors.
        healthy: some images without any finding, to paint opacities into.
    """

    bundle: Bundle
    plan: Plan
    judgement: Judgement
    summary: Document
    gallery: Gallery
    healthy: Healthy

    @property
    def is_empty(self) -> bool:
        """Whether nothing could be judged."""
        return not self.judgement.judged


def evaluate(predictor: Predictor, source: Source, plan: Plan, console: Console) -> Evaluation:
    """Judge a model on labelled images, with progress on the console.

    Raises:
        EvaluationError: the source holds nothing, or the network says something that is no number.
    """
    if not len(source):
        raise EvaluationError("there are no images to evaluate on")
    bundle = predictor.bundle
    gallery, healthy = Gallery(bundle.findings), Healthy()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=len(source))
        judgement = judge(predictor, source, plan.point, (gallery, healthy), lambda: progress.advance(task))
    with console.status("working out intervals"):
        document = summary(bundle, judgement, source.describe(), plan)
    return Evaluation(bundle, plan, judgement, document, gallery, healthy)


def write(evaluation: Evaluation, source: Source, out: Path) -> None:
    """Write the report, the figures, the results by image and the card into a folder, which is made when absent.

    Results name images by what they hold. Where each one is stands in `files.csv` alone, which only its owner can read:
    a path may name a patient.

    Raises:
        EvaluationError: the folder cannot be written.
    """
    bundle, judged = evaluation.bundle, evaluation.judgement.judged
    samples = [Sample.of(bundle, column, judged) for column in range(len(bundle.findings))]
    curves = {sample.finding.name: finding_curves(sample, evaluation.plan).to_json() for sample in samples}
    document = {**evaluation.summary, "curves": curves}
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / SUMMARY_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        _write_images(out / IMAGES_FILE, bundle, evaluation.judgement)
        _write_places(out / FILES_FILE, evaluation.judgement, source)
        (out / CARD_FILE).write_text(write_card(bundle, evaluation=evaluation.summary), encoding="utf-8")
        (out / REPORT_FILE).write_text(render(document, _pictures(evaluation, source)), encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"the report cannot be written to {out}: {error.strerror}") from error


def _pictures(evaluation: Evaluation, source: Source) -> Mapping[str, Sequence[Picture]]:
    """The most confident errors of each finding, alarms first."""
    return {
        finding.name: [
            Picture.of(error, draw(error, source.display))
            for misses in (False, True)
            for error in evaluation.gallery.errors(finding.name, misses)
        ]
        for finding in evaluation.bundle.findings
    }


def _write_images(path: Path, bundle: Bundle, judgement: Judgement) -> None:
    names = [finding.name for finding in bundle.findings]
    fields = ("probability", "decision", "severity", "truth")
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "class", "status", "reason", "distance", *(f"{n} {f}" for n in names for f in fields)])
        rows.writerows(_image_row(bundle, one) for one in judgement.judged)
        blank = [None] * (1 + len(names) * len(fields))
        rows.writerows([p.name, p.label, "UNREADABLE", p.reason, *blank] for p in judgement.problems)


def _image_row(bundle: Bundle, one: Judged) -> list[Any]:
    status = "DIAGNOSED" if one.reading.scope.in_scope else "OUT_OF_SCOPE"
    distance = None if one.reading.distance is None else f"{one.reading.distance:.4f}"
    row: list[Any] = [one.case.name, one.case.label, status, one.reading.scope.reason, distance]
    for column, finding in enumerate(bundle.findings):
        said = one.reading.findings[column] if one.reading.findings else None
        truth = one.case.labels.get(finding.name)
        row += [f"{one.probabilities[column]:.6f}", *((said.decision, said.severity) if said else (None, None))]
        row.append(None if truth is None else int(truth))
    return row


def _write_places(path: Path, judgement: Judgement, source: Source) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    with path.open("w", encoding="utf-8", newline="", errors="surrogateescape") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "where"])
        names = [one.case.name for one in judgement.judged] + [problem.name for problem in judgement.problems]
        rows.writerows([name, source.whereabouts(name)] for name in dict.fromkeys(names))
