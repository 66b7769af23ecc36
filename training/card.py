"""The model card: what a person should know before trusting a bundle (Mitchell et al., FAT* 2019)."""

from models.bundle import Bundle
from training.config import TrainingConfig


def write_card(bundle: Bundle, config: TrainingConfig) -> str:
    """Write the card of `bundle` in Markdown, from its own figures."""
    sections = [
        f"# {bundle.id}",
        _purpose(bundle),
        f"## Limits\n\n{config.limits}",
        f"## Data\n\n{config.data}. {_counts(bundle)}",
        f"## Figures\n\n{_figures(bundle)}",
        f"## Operating points\n\n{_thresholds(bundle)}",
        f"## Scope\n\n{_scope(bundle, config)}",
        f"## Severity\n\n{_severity(bundle)}",
    ]
    return "\n\n".join(sections) + "\n"


def _purpose(bundle: Bundle) -> str:
    findings = ", ".join(f"{finding.name} (SNOMED CT {finding.code})" for finding in bundle.findings)
    return (
        f"Findings: {findings}. Reads {' and '.join(bundle.scope.modalities)} of "
        f"{', '.join(bundle.scope.body_parts)}, prepared by `{bundle.spec.id}`."
    )


def _scope(bundle: Bundle, config: TrainingConfig) -> str:
    return (
        "An image is refused when its modality or body part is another, when it is blank (standard deviation under "
        f"{bundle.scope.min_std:g} grey levels), or when its embedding lies further than "
        f"{bundle.scope.max_distance:.3f} from the training images (Mahalanobis distance over the root of the "
        f"dimensions; percentile {config.scope_percentile:g} of the validation images)."
    )


def _counts(bundle: Bundle) -> str:
    images, patients = bundle.lineage["images"], bundle.lineage["patients"]
    parts = [f"{part} {images[part]} images of {patients[part]} patients" for part in images]
    return f"Split by patient (seed {bundle.lineage['seed']}): {'; '.join(parts)}."


def _figures(bundle: Bundle) -> str:
    names = ("images", "accuracy", "precision", "recall", "specificity", "f1", "auroc")
    rows = [f"| split / finding | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for part, figures in bundle.metrics.items():
        cells = [f"{figures[name]:.0f}" if name == "images" else f"{figures[name]:.4f}" for name in names]
        rows.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _thresholds(bundle: Bundle) -> str:
    rows = []
    for finding in bundle.findings:
        points = ", ".join(f"{name} {value:.4f}" for name, value in finding.thresholds.items())
        rows.append(
            f"{finding.name}: present from a calibrated probability of {points}; the default is "
            f"`{bundle.operating_point}`, with no decision within {finding.indeterminate_margin:g} in log odds of it. "
            f"Temperature {finding.temperature:.3f}, bias {finding.bias:.3f}; a probability holds at the "
            "share of positives in the validation images, not at yours."
        )
    return "\n".join(rows)


def _severity(bundle: Bundle) -> str:
    rows = []
    for finding in bundle.findings:
        bands = finding.severity
        rows.append(
            f"{finding.name}: cells of the explanation map from {bands.map_level:.3f} count as marked; moderate from "
            f"{bands.moderate_from:.1%} of the image, severe from {bands.severe_from:.1%} (terciles of the validation "
            "images that have the finding). This is no lung segmentation yet."
        )
    return "\n".join(rows)
