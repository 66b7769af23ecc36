"""A zip of pictures with an `index.csv`, whose columns are at least `file`, `label` and `patient`."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.archive.errors import ArchiveError
from training.archive.example import MAX_BYTES, Example, Row, understood
from training.archive.index import rows
from training.archive.picture import grey
from training.archive.zip_file import BROKEN, ZipBacked

INDEX: Final = "index.csv"


class LabelledArchive(ZipBacked):
    """A labelled zip, read as it streams; use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Reads the index.

        Raises:
            ArchiveError: it is no zip, or has no index that can be read.
        """
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ArchiveError(f"{path} is not a readable zip: {error}") from error
        self.path = path
        self.examples: tuple[Example, ...] = understood(self._index())

    def content(self, example: Example) -> bytes:
        """One picture's file.

        Raises:
            ArchiveError: it is missing or broken.
        """
        try:
            size = self._zip.getinfo(example.file).file_size
            if size > MAX_BYTES:
                raise ArchiveError(f"{example.file} in {self.path.name} has {size} bytes, {MAX_BYTES} are read")
            return self._zip.read(example.file)
        except BROKEN as error:
            raise ArchiveError(f"{example.file} cannot be read from {self.path.name}") from error

    def read(self, example: Example) -> NDArray[np.uint8]:
        """Decode one picture to grey levels `[h, w]`.

        Raises:
            ArchiveError: the picture is missing or broken.
        """
        return grey(self.content(example), f"{example.file} in {self.path.name}")

    def sha256(self) -> str:
        """SHA-256 in hex of the archive."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _index(self) -> Iterator[Row]:
        try:
            with io.TextIOWrapper(self._zip.open(INDEX), encoding="utf-8-sig", newline="") as text:
                yield from rows(text, f"{INDEX} of {self.path}")
        except KeyError as error:
            raise ArchiveError(f"{self.path} has no {INDEX}") from error
        except BROKEN as error:
            raise ArchiveError(f"{INDEX} of {self.path} cannot be read ({type(error).__name__})") from error
