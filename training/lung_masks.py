"""Lung masks of an archive's images: a zip with an `index.csv` whose columns are at least `image` and `mask`."""

import csv
import io
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.spec import PreprocessSpec
from training.archive import Archive, ArchiveError, Example
from training.archive.picture import framed, grey
from training.archive.zip_file import BROKEN, ZipBacked

INDEX: Final = "index.csv"
_COLUMNS: Final = frozenset({"image", "mask"})


class LungMasks(ZipBacked):
    """Which places of which images are lung, as somebody drew them; use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Reads the index.

        Raises:
            ArchiveError: it is no zip, or has no index that can be read.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            with io.TextIOWrapper(self._zip.open(INDEX), encoding="utf-8-sig", newline="") as text:
                rows = csv.DictReader(text)
                if missing := _COLUMNS - set(rows.fieldnames or ()):
                    raise ArchiveError(f"{INDEX} of {path.name} lacks columns: {', '.join(sorted(missing))}")
                self._masks = {row["image"]: row["mask"] for row in rows}
        except (OSError, KeyError, UnicodeDecodeError, csv.Error, zipfile.BadZipFile) as error:
            raise ArchiveError(f"{path} is no zip of masks with an {INDEX}: {error}") from error

    def __contains__(self, example: Example) -> bool:
        return example.file in self._masks

    def pair(
        self, archive: Archive, example: Example, spec: PreprocessSpec
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The model input of an image and its mask in the same geometry, `[spec.size, spec.size]` each; 255 is lung.

        Raises:
            ArchiveError: one of them is missing or no picture, or they differ in shape.
        """
        name = f"{example.file} in {archive.path.name}"
        pixels, geometry = framed(archive.content(example), spec, name)
        mask = self._mask(self._masks[example.file])
        if mask.shape != (geometry.original_rows, geometry.original_columns):
            raise ArchiveError(f"the mask of {name} is {mask.shape[0]} x {mask.shape[1]} pixels, the image is not")
        return pixels, geometry.to_square(mask)

    def _mask(self, file: str) -> NDArray[np.uint8]:
        try:
            content = self._zip.read(file)
        except BROKEN as error:
            raise ArchiveError(f"{file} cannot be read from {self.path.name}") from error
        return grey(content, f"{file} in {self.path.name}")
