"""The figures of one finding: over all readable images, over those decided, by operating point and by subgroup."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, FindingSpec
from schemas.events import Decision
from training.bootstrap import RESAMPLES, as_numbers, intervals, share_interval
from training.curves import Curves, curves
from training.evaluation.judge import Judged, calls
from training.metrics import Confusion, Scored, figures, single

FEW_IMAGES: Final = 30
FEW_OF_A_CLASS: Final = 10
"""Below these a subgroup is marked as small."""
UNKNOWN: Final = "not known"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How figures are made.

    Attributes:
        point: the operating point.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    point: str
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Images whose truth is known for a finding.

    Attributes:
        bundle: the model.
        column: of the finding.
        judged: the images.
    """

    bundle: Bundle
    column: int
    judged: Sequence[Judged]

    @classmethod
    def of(cls, bundle: Bundle, column: int, judged: Iterable[Judged]) -> Self:
        """Those of some images whose truth is known."""
        name = bundle.findings[column].name
        return cls(bundle, column, [one for one in judged if name in one.case.labels])

    @property
    def finding(self) -> FindingSpec:
        """What it is about."""
        return self.bundle.findings[self.column]

    @property
    def true(self) -> NDArray[np.bool_]:
        """Whether each image has the finding, `[n]`."""
        return np.array([one.case.labels[self.finding.name] for one in self.judged], bool)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of all findings, `[n, findings]`."""
        return np.array([one.probabilities for one in self.judged], np.float64).reshape(-1, len(self.bundle.findings))

    @property
    def decisions(self) -> list[Decision | None]:
        """What the service would say; None out of scope."""
        return [one.decision(self.column) for one in self.judged]

    def called(self, point: str) -> NDArray[np.bool_]:
        """Whether the finding is called by threshold alone, `[n]`."""
        return calls(self.bundle, self.probabilities, point)[:, self.column]

    def scored(self, called: NDArray[np.bool_]) -> Scored:
        """What the figures are made of."""
        return Scored.of(self.probabilities[:, self.column], self.true, called)

    def taken(self, places: Iterable[int]) -> Self:
        """Some of the images."""
        return replace(self, judged=[self.judged[place] for place in places])


def finding_document(sample: Sample, plan: Plan) -> Document:
    """All that is said of a finding."""
    by_code = {finding.code: finding.name for finding in sample.bundle.findings}
    parent = sample.finding.parent
    return {
        "code": sample.finding.code,
        "parent": None if parent is None else by_code[parent],
        "threshold": sample.finding.thresholds[plan.point],
        **_figures(sample, sample.called(plan.point), plan),
        "decided": _decided(sample, plan),
        "explanation": _explanation(sample),
        "operating_points": _operating_points(sample),
        "subgroups": _subgroups(sample, plan),
    }


def finding_curves(sample: Sample, plan: Plan) -> Curves:
    """The curves of a finding, over all readable images."""
    return curves(sample.scored(sample.called(plan.point)))


def kinds_document(bundle: Bundle, judged: Sequence[Judged], plan: Plan) -> Document:
    """Of findings that have kinds: how often the likeliest kind is the right one, where the class is a kind."""
    found = {}
    for parent in bundle.findings:
        columns = [column for column, finding in enumerate(bundle.findings) if finding.parent == parent.code]
        names = [bundle.findings[column].name for column in columns]
        known = [one for one in judged if one.case.label in names]
        if len(columns) > 1 and known:
            found[parent.name] = _kinds(names, columns, known, plan)
    return found


def plain(values: dict[str, float]) -> dict[str, float | None]:
    """Figures as JSON values, which have no nan."""
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def _figures(sample: Sample, called: NDArray[np.bool_], plan: Plan) -> Document:
    true, scored = sample.true, sample.scored(called)
    ranges = intervals(scored, as_numbers([one.case.patient for one in sample.judged]), plan.seed, plan.resamples)
    counts = Confusion(
        *(int(np.sum(cell)) for cell in (called & true, called & ~true, ~called & ~true, ~called & true))
    )
    return {
        "images": len(true),
        "positives": int(true.sum()),
        "negatives": int((~true).sum()),
        **plain(single(figures(scored))),
        "intervals": {name: None if ends is None else list(ends) for name, ends in ranges.items()},
        "confusion": asdict(counts),
    }


def _decided(sample: Sample, plan: Plan) -> Document:
    """The figures over what the service would have decided, and how much that is."""
    decisions = sample.decisions
    kept = [place for place, said in enumerate(decisions) if said in (Decision.PRESENT, Decision.ABSENT)]
    called = np.array([decisions[place] is Decision.PRESENT for place in kept], bool)
    return {
        "share": len(kept) / len(decisions) if decisions else None,
        "indeterminate": decisions.count(Decision.INDETERMINATE),
        "out_of_scope": decisions.count(None),
        **_figures(sample.taken(kept), called, plan),
    }


def _explanation(sample: Sample) -> Document:
    """How much of the explanation maps lies in the lungs, of images in which the service would say that it is there."""
    shares = [
        float(one.in_lungs[sample.column])
        for one, said in zip(sample.judged, sample.decisions, strict=True)
        if said is Decision.PRESENT and one.in_lungs is not None
    ]
    known = [share for share in shares if np.isfinite(share)]
    mean, low = (float(np.mean(known)), float(np.percentile(known, 5))) if known else (None, None)
    return {"images": len(shares), "empty_maps": len(shares) - len(known), "in_lungs": mean, "in_lungs_p5": low}


def _operating_points(sample: Sample) -> Document:
    """What each of the bundle's operating points would give, without intervals."""
    points = {}
    for name, threshold in sample.finding.thresholds.items():
        found = plain(single(figures(sample.scored(sample.called(name)))))
        shown = ("accuracy", "precision", "recall", "specificity", "f1")
        points[name] = {"threshold": threshold, **{figure: found[figure] for figure in shown}}
    return points


def _subgroups(sample: Sample, plan: Plan) -> Document:
    """Figures by class, and by each attribute that at least one image has."""
    names = sorted({name for one in sample.judged for name in one.case.attributes})
    found: Document = {}
    for name in ("class", *names):
        groups: dict[str, list[int]] = defaultdict(list)
        for place, one in enumerate(sample.judged):
            groups[one.case.label if name == "class" else one.case.attributes.get(name, UNKNOWN)].append(place)
        found[name] = {value: _subgroup(sample.taken(places), plan) for value, places in sorted(groups.items())}
    return found


def _subgroup(group: Sample, plan: Plan) -> Document:
    document = _figures(group, group.called(plan.point), plan)
    least = min(count for count in (document["positives"], document["negatives"]) if count)
    return {"small": len(group.judged) < FEW_IMAGES or least < FEW_OF_A_CLASS, **document}


def _kinds(names: Sequence[str], columns: Sequence[int], known: Sequence[Judged], plan: Plan) -> Document:
    true = np.array([names.index(one.case.label) for one in known])
    said = np.argmax([one.probabilities[list(columns)] for one in known], axis=1)
    table = np.zeros((len(names), len(names)), int)
    np.add.at(table, (true, said), 1)
    patients = as_numbers([one.case.patient for one in known])
    ends = share_interval(true == said, patients, plan.seed, plan.resamples)
    return {
        "kinds": list(names),
        "images": len(known),
        "accuracy": float(np.mean(true == said)),
        "intervals": {"accuracy": None if ends is None else list(ends)},
        "confusion": table.tolist(),
    }
