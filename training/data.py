"""The images, labels and lung masks of one training, by split, whether from an archive or from the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from training.archive import Archive, ArchiveError, Example, open_archive, prepare, split_by_patient
from training.config import ConfigError, TrainingConfig
from training.examples import Examples
from training.fit import Columns
from training.lung_masks import LungMasks
from training.manifest import Manifest
from training.progress import counted
from training.split import Split


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingData:
    """What networks are fitted to.

    Attributes:
        examples: model inputs and labels, by split.
        lungs: columns `images` and `masks` of the U-Net, by split; None where there are no masks.
        lineage: what they are, how many, and of how many patients.
    """

    examples: Mapping[Split, Examples]
    lungs: Mapping[Split, Columns] | None
    lineage: Mapping[str, Any]


def from_archive(path: Path, masks: Path | None, config: TrainingConfig, console: Console) -> TrainingData:
    """Read an archive, and masks of some of its images, and share patients out.

    Raises:
        ArchiveError: one of them cannot be read, or the masks are of other images.
    """
    with open_archive(path) as archive:
        parts = split_by_patient(archive.examples, config.shares, config.seed)
        examples = {part: _examples(archive, chosen, part, config, console) for part, chosen in parts.items()}
        lineage = _lineage(archive, parts, config)
        if masks is None:
            return TrainingData(examples=examples, lungs=None, lineage=lineage)
        with LungMasks(masks) as drawn:
            lungs = {part: _pairs(archive, drawn, chosen, part, config, console) for part, chosen in parts.items()}
    counts = {str(part): len(columns) for part, columns in lungs.items()}
    return TrainingData(examples=examples, lungs=lungs, lineage={**lineage, "lung_masks": masks.name, "masks": counts})


def from_manifest(manifest: Manifest, examples: Mapping[Split, Examples], config: TrainingConfig) -> TrainingData:
    """Take a data set from the log; masks of lungs are not on it.

    Raises:
        ConfigError: the manifest is of other findings, or of pixels made otherwise.
    """
    wanted = [finding.code for finding in config.findings]
    if manifest.spec != config.spec or list(manifest.findings) != wanted:
        raise ConfigError(
            f"the manifest is of {manifest.spec.id} and the findings {', '.join(manifest.findings.values())}, which "
            f"{config.name} is not: make one with `radiolog replay --config`"
        )
    parts = {part: manifest.of(part) for part in examples}
    lineage = {
        "manifest_sha256": manifest.sha256,
        "images": {str(part): len(images) for part, images in parts.items()},
        "patients": {str(part): len({image.patient for image in images}) for part, images in parts.items()},
        "shares": {str(part): share for part, share in manifest.shares.items()},
        "seed": manifest.seed,
    }
    return TrainingData(examples=examples, lungs=None, lineage=lineage)


def _examples(
    archive: Archive, examples: tuple[Example, ...], part: Split, config: TrainingConfig, console: Console
) -> Examples:
    names = [finding.name for finding in config.findings]
    with counted(console, f"{part}: reading images", len(examples)) as advance:
        return prepare(archive, examples, names, config.spec, advance)


def _pairs(
    archive: Archive,
    masks: LungMasks,
    examples: tuple[Example, ...],
    part: Split,
    config: TrainingConfig,
    console: Console,
) -> Columns:
    chosen = [example for example in examples if example in masks]
    if not chosen:
        raise ArchiveError(f"{masks.path.name} holds no mask of an image in {archive.path.name} that is for {part}")
    size = config.spec.size
    arrays = {name: np.zeros((len(chosen), size, size), np.uint8) for name in ("images", "masks")}
    with counted(console, f"{part}: reading lung masks", len(chosen)) as advance:
        for row, example in enumerate(chosen):
            arrays["images"][row], arrays["masks"][row] = masks.pair(archive, example, config.spec)
            advance()
    return Columns(arrays)


def _lineage(archive: Archive, parts: Mapping[Split, tuple[Example, ...]], config: TrainingConfig) -> dict[str, Any]:
    return {
        "archive": archive.path.name,
        "archive_sha256": archive.sha256(),
        "images": {str(part): len(examples) for part, examples in parts.items()},
        "patients": {str(part): len({example.patient for example in examples}) for part, examples in parts.items()},
        "shares": {str(part): share for part, share in config.shares.items()},
        "seed": config.seed,
    }
