"""What all forms of archive have in common, and which form a path is."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from training.archive.errors import ArchiveError
from training.archive.example import Content, Example
from training.archive.files import class_folder, csv_of_paths
from training.archive.npz import NpzArchive
from training.archive.zipped import LabelledArchive


class Archive(AbstractContextManager[Any], Protocol):
    """Labelled images; use as a context manager."""

    path: Path
    examples: tuple[Example, ...]

    def content(self, example: Example) -> Content:
        """The image as the archive holds it; raises `ArchiveError`."""

    def read(self, example: Example) -> NDArray[np.uint8]:
        """Its pixels; raises `ArchiveError`."""

    def sha256(self) -> str:
        """SHA-256 in hex, over labels and images."""


def open_archive(path: Path, classes: Sequence[str] = ()) -> Archive:
    """Open a zip with an index, a folder by classes, a CSV of paths and labels, or a MedMNIST `.npz`.

    Args:
        path: the archive.
        classes: names of the labels in their order, for a `.npz` whose own are not known.

    Raises:
        ArchiveError: it is none of these.
    """
    if path.is_dir():
        return class_folder(path)
    match path.suffix.lower():
        case ".npz":
            return NpzArchive(path, classes)
        case ".csv":
            return csv_of_paths(path)
        case ".zip":
            return LabelledArchive(path)
    raise ArchiveError(f"{path.name} is no labelled archive: a folder by classes, .zip with index.csv, .csv or .npz")
