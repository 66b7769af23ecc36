"""Labelled images as files of their own: a folder by classes, or a CSV of paths and labels."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from training.archive.errors import ArchiveError
from training.archive.example import MAX_BYTES, Example, Row, understood
from training.archive.index import rows
from training.archive.picture import grey

SUFFIXES: Final = frozenset({".dcm", ".jpg", ".jpeg", ".png"})


class LabelledFiles:
    """Files below a folder, and an index of them; `class_folder` and `csv_of_paths` make one."""

    def __init__(self, path: Path, root: Path, examples: Sequence[Example], index: bytes = b"") -> None:
        """Takes what is known already.

        Args:
            path: what the archive is called by: the folder, or the CSV.
            root: what the examples' files are relative to.
            examples: the images.
            index: what says their labels, where their names do not.
        """
        self.path = path
        self.examples = tuple(examples)
        self._root = root
        self._index = index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""

    def content(self, example: Example) -> bytes:
        """One image's file.

        Raises:
            ArchiveError: it cannot be read.
        """
        file = self._root / example.file
        try:
            if (size := file.stat().st_size) > MAX_BYTES:
                raise ArchiveError(f"{example.file} has {size} bytes, {MAX_BYTES} are read")
            return file.read_bytes()
        except OSError as error:
            raise ArchiveError(f"{example.file} cannot be read: {error.strerror}") from error

    def read(self, example: Example) -> NDArray[np.uint8]:
        """Decode one image to grey levels `[h, w]`.

        Raises:
            ArchiveError: it is missing or broken.
        """
        return grey(self.content(example), f"{example.file} in {self.path.name}")

    def sha256(self) -> str:
        """SHA-256 in hex over the index, and the names and contents of all files in the order of their names."""
        digest = hashlib.sha256(self._index)
        for example in sorted(self.examples, key=lambda example: example.file):
            try:
                content = self.content(example)
            except ArchiveError:
                content = b""
            digest.update(f"{example.file}\0{example.label}\0{hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()


def class_folder(path: Path) -> LabelledFiles:
    """The archive in a folder `DIR/<label>/*.{dcm,jpg,jpeg,png}`; the label `normal` means none.

    A DICOM file is of the patient that it says, any other image of one of its own. Hidden files are passed over.

    Raises:
        ArchiveError: no folder in it holds an image.
    """
    found = sorted(
        file.relative_to(path)
        for file in path.glob("*/**/*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not _is_hidden(file.relative_to(path))
    )
    if not found:
        raise ArchiveError(f"{path} holds no images by class: {path.name}/<label>/*.dcm, .jpg, .jpeg or .png")
    lines = (Row(file.as_posix(), file.parts[0], _patient(path, file)) for file in found)
    return LabelledFiles(path, path, understood(lines))


def csv_of_paths(path: Path) -> LabelledFiles:
    """The archive that a CSV names: columns `file` or `path` (relative to it), `label`, and `patient` if known.

    Raises:
        ArchiveError: it is no such CSV, or names what lies outside its folder.
    """
    try:
        index = path.read_bytes()
        with path.open(encoding="utf-8-sig", newline="") as text:
            lines = tuple(_inside(rows(text, path.name, ("file", "label")), path.parent))
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}") from error
    if not lines:
        raise ArchiveError(f"{path} names no image")
    return LabelledFiles(path, path.parent, understood(lines), index)


def _inside(lines: Iterable[Row], folder: Path) -> Iterator[Row]:
    """The lines whose files are below the folder: an index from elsewhere must not name files of this machine."""
    root = folder.resolve()
    for line in lines:
        if not (root / line.file).resolve().is_relative_to(root):
            raise ArchiveError(f"the index names {line.file}, which is not below its folder")
        yield line


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _patient(root: Path, file: Path) -> str:
    if file.suffix.lower() == ".dcm":
        try:
            header = pydicom.dcmread(root / file, stop_before_pixels=True, specific_tags=["PatientID"])
            return str(header.get("PatientID") or file.as_posix())
        except (InvalidDicomError, OSError, ValueError, NotImplementedError, AttributeError):
            pass  # it is broken: whoever reads it will say so
    return file.as_posix()
