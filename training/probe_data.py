"""What probes are fitted to and judged by: the images of an archive, small, as a whole and as the lung field."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from models.layers import as_levels
from models.lung_field import WHOLE, crop
from models.lungs import LungNet
from training.archive import Archive, Example, open_archive, prepare, split_by_patient
from training.bootstrap import as_numbers
from training.config import TrainingConfig
from training.errors import FitError
from training.networks import find_lungs
from training.probes import Lungs, Pictures
from training.progress import counted
from training.split import Split

WHOLE_PICTURE: Final = "whole picture"
LUNG_FIELD: Final = "lung field"
_ROWS: Final = 64
"""Pictures that are resampled at a time."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Part:
    """The examples of one split.

    Attributes:
        pixels: model inputs, uint8 `[n, size, size]`.
        labels: bool `[n]`, whether the finding is there.
        patients: `[n]`, a number for each patient.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    patients: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ProbeData:
    """The examples.

    Attributes:
        finding: whose label it is.
        train: that networks are fitted to.
        validation: of other patients, that they are judged by.
        lineage: what the examples are, and how many.
    """

    finding: str
    train: Part
    validation: Part
    lineage: Mapping[str, Any]


class View(NamedTuple):
    """Pictures as probes take them, uint8 `[n, edge, edge]`, and where their lungs are, bool `[n, edge, edge]`."""

    pictures: Pictures
    lungs: Lungs


def read(path: Path, config: TrainingConfig, console: Console) -> ProbeData:
    """Read the training and validation images of an archive that say whether the first finding of `config` is there.

    Raises:
        ArchiveError: the archive cannot be read.
        FitError: in one of the two splits every image has the finding, or none has.
    """
    with open_archive(path) as archive:
        parts = split_by_patient(archive.examples, config.shares, config.seed)
        train, validation = (
            _part(archive, parts.get(split, ()), split, config, console) for split in (Split.TRAIN, Split.VALIDATION)
        )
        lineage = {
            "archive": archive.path.name,
            "archive_sha256": archive.sha256(),
            "images": {"train": len(train.labels), "validation": len(validation.labels)},
            "with_finding": {"train": int(train.labels.sum()), "validation": int(validation.labels.sum())},
            "seed": config.seed,
        }
    return ProbeData(finding=config.findings[0].name, train=train, validation=validation, lineage=lineage)


def views(part: Part, net: LungNet, edge: int) -> dict[str, View]:
    """Both views of the pictures: the whole of each, and the box around its lungs.

    Args:
        part: n examples.
        net: finds the lungs; what it misses, a dense opacity in a lung perhaps, counts as none.
        edge: of the views in pixels.
    """
    lungs, boxes = find_lungs(net, part.pixels)
    return {
        WHOLE_PICTURE: _view(part.pixels, lungs, whole_boxes(len(boxes)), edge),
        LUNG_FIELD: _view(part.pixels, lungs, boxes, edge),
    }


def whole_boxes(count: int) -> NDArray[np.float32]:
    """The box of the whole picture for each of so many, `[count, 4]`."""
    return np.tile(np.array(WHOLE, np.float32), (count, 1))


def _part(
    archive: Archive, examples: tuple[Example, ...], split: Split, config: TrainingConfig, console: Console
) -> Part:
    finding = config.findings[0].name
    known = [example for example in examples if example.says(finding) is not None]
    labels = np.array([example.says(finding) for example in known], np.bool_)
    if labels.all() or not labels.any():
        lacking = "without" if labels.any() else "with"
        raise FitError(f"{archive.path.name} holds no image {lacking} {finding} that is for {split}")
    with counted(console, f"{split}: reading images", len(known)) as advance:
        pixels = prepare(archive, known, [finding], config.spec, advance).pixels
    return Part(pixels=pixels, labels=labels, patients=as_numbers([example.patient for example in known]))


def _view(pixels: NDArray[np.uint8], lungs: NDArray[np.uint8], boxes: NDArray[np.float32], edge: int) -> View:
    shown: list[Pictures] = []
    inside: list[Lungs] = []
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        shown.append(np.rint(255.0 * np.asarray(_small(pixels[rows], boxes[rows], edge))).astype(np.uint8))
        inside.append(np.asarray(_small(lungs[rows], boxes[rows], edge)) > 0.5)
    return View(np.concatenate(shown), np.concatenate(inside))


@partial(jax.jit, static_argnames="edge")
def _small(pictures: jax.Array, boxes: jax.Array, edge: int) -> jax.Array:
    """The boxes of `[n, h, w]` pictures, `[n, edge, edge]`: resampled finely, then averaged: nothing aliases."""
    cell = -(-pictures.shape[1] // edge)
    fine = crop(as_levels(pictures), boxes, edge * cell)
    return fine.reshape(len(fine), edge, cell, edge, cell).mean(axis=(2, 4))
