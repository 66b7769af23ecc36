"""Labelled archives of rasters, split by patient and made into model inputs by the serving path.

An archive is a zip of pictures with an `index.csv` whose columns are at least `file`, `label` and `patient`. Labels
are names of findings, or `normal`.
"""

import csv
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pixels import raster_to_model_input
from models.spec import PreprocessSpec

INDEX: Final = "index.csv"
NORMAL: Final = "normal"
_COLUMNS: Final = frozenset({"file", "label", "patient"})


class ArchiveError(Exception):
    """An archive that cannot be read as a labelled one."""


class Split(StrEnum):
    """What a part of the data is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Example:
    """One line of the index: a file in the archive, its label and the patient it belongs to."""

    file: str
    label: str
    patient: str


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Model inputs `[n, size, size]`, uint8, and labels `[n, findings]`, float32 of 0 and 1."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


class LabelledArchive:
    """A labelled zip, read as it streams; use as a context manager."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ArchiveError(f"{path} is not a readable zip: {error}") from error
        self.path = path
        self.examples: tuple[Example, ...] = tuple(self._index())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def read(self, example: Example) -> NDArray[np.uint8]:
        """Decode one picture to grey levels `[h, w]`.

        Raises:
            ArchiveError: the picture is missing or broken.
        """
        try:
            encoded = np.frombuffer(self._zip.read(example.file), np.uint8)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise ArchiveError(f"{example.file} cannot be read from {self.path.name}") from error
        raster = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
        if raster is None:
            raise ArchiveError(f"{example.file} in {self.path.name} is not a picture")
        return np.asarray(raster, np.uint8)

    def sha256(self) -> str:
        """SHA-256 in hex of the archive."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _index(self) -> Iterator[Example]:
        try:
            text = io.TextIOWrapper(self._zip.open(INDEX), encoding="utf-8", newline="")
        except KeyError as error:
            raise ArchiveError(f"{self.path} has no {INDEX}") from error
        with text:
            rows = csv.DictReader(text)
            missing = _COLUMNS - set(rows.fieldnames or ())
            if missing:
                raise ArchiveError(f"{INDEX} of {self.path} lacks columns: {', '.join(sorted(missing))}")
            for row in rows:
                yield Example(row["file"], row["label"], row["patient"])


def split_by_patient(
    examples: Iterable[Example], shares: Mapping[Split, float], seed: int
) -> dict[Split, tuple[Example, ...]]:
    """Share patients out so that none is in two splits and each split has about the same mix of labels.

    Args:
        examples: all of them.
        shares: of the images, by split; they sum to 1.
        seed: the same seed gives the same split of the same examples in whatever order.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-9:
        raise ValueError(f"shares must sum to 1, got {sum(shares.values())}")
    by_patient: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda example: example.file):
        by_patient.setdefault(example.patient, []).append(example)
    strata: dict[tuple[str, ...], list[str]] = {}
    for patient in sorted(by_patient):
        mix = tuple(sorted({example.label for example in by_patient[patient]}))
        strata.setdefault(mix, []).append(patient)
    split: dict[Split, list[Example]] = {part: [] for part in shares}
    rng = np.random.default_rng(seed)
    for _, patients in sorted(strata.items()):
        shuffled = [patients[index] for index in rng.permutation(len(patients))]
        _share_out([by_patient[patient] for patient in shuffled], shares, split)
    return {part: tuple(chosen) for part, chosen in split.items()}


def _share_out(
    patients: Sequence[Sequence[Example]], shares: Mapping[Split, float], split: Mapping[Split, list[Example]]
) -> None:
    """Give each patient to the split that is furthest behind its share, the largest share first."""
    total = sum(map(len, patients))
    given = dict.fromkeys(shares, 0)
    for images in patients:
        behind = max(shares, key=lambda part: shares[part] * total - given[part])
        split[behind].extend(images)
        given[behind] += len(images)


def prepare(
    archive: LabelledArchive,
    examples: Sequence[Example],
    findings: Sequence[str],
    spec: PreprocessSpec,
    log_aspect: tuple[float, float],
    advance: Callable[[], Any] = lambda: None,
) -> Examples:
    """Read examples and make them model inputs by the path that serves DICOM.

    Archives of this kind hold pictures resized to a square, so the true aspect is lost while serving keeps it.
    Each picture is given one back, drawn from the natural log of width over height within `log_aspect`, by its
    file name alone: the true aspect differs between labels in known data and must not be learnt.

    Args:
        archive: where the pictures are.
        examples: which of them, in order.
        findings: names of findings in the order of the label columns.
        spec: the recipe.
        log_aspect: least and greatest; `(0, 0)` keeps pictures as they are.
        advance: called after each picture.

    Raises:
        ArchiveError: a label is neither a finding nor normal, or a picture is broken.
    """
    pixels = np.zeros((len(examples), spec.size, spec.size), np.uint8)
    labels = np.zeros((len(examples), len(findings)), np.float32)
    for row, example in enumerate(examples):
        if example.label not in (*findings, NORMAL):
            raise ArchiveError(f"{example.file} is labelled {example.label!r}, not one of {(*findings, NORMAL)}")
        pixels[row], _ = raster_to_model_input(archive.read(example), spec, _pixel_aspect(example, log_aspect))
        labels[row] = [example.label == finding for finding in findings]
        advance()
    return Examples(pixels, labels)


def _pixel_aspect(example: Example, log_aspect: tuple[float, float]) -> float:
    """Height over width of a pixel in the squeezed picture."""
    seed = int.from_bytes(hashlib.sha256(example.file.encode()).digest()[:8], "big")
    return float(np.exp(-np.random.default_rng(seed).uniform(*log_aspect)))
