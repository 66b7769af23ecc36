"""Labelled images in folders named after their class: DIR/<label>/…/*.dcm, .jpg, .jpeg or .png."""

import hashlib
import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from models.bundle import Bundle
from models.geometry import Geometry
from models.pixels import (
    NotAnImage,
    PixelError,
    PixelErrorCode,
    decode,
    decode_raster,
    raster_to_model_input,
    to_display,
    to_model_input,
)
from training.evaluation.header import attributes, text
from training.evaluation.source import NORMAL, Case, EvaluationError, Example, Problem, labels_of

RASTERS: Final = (".jpg", ".jpeg", ".png")
SUFFIXES: Final = (".dcm", *RASTERS)
_READ_AHEAD: Final = 128
_READERS: Final = min(8, os.cpu_count() or 1)
"""Threads; each may hold a decoded image of many megabytes."""
_ID_LENGTH: Final = 16
_KINDS: Final[Mapping[PixelErrorCode, str]] = {
    PixelErrorCode.NOT_DICOM: "not a DICOM file",
    PixelErrorCode.MISSING_ATTRIBUTE: "an attribute is missing",
    PixelErrorCode.INVALID_ATTRIBUTE: "an attribute is invalid",
    PixelErrorCode.TOO_LARGE: "too large",
    PixelErrorCode.TRUNCATED: "cut short",
    PixelErrorCode.UNSUPPORTED: "of a form that is not read",
    PixelErrorCode.UNDECODABLE: "pixels cannot be decoded",
}


Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class _File:
    """A file and the class of the folder that it is in; None if it is in none."""

    path: Path
    label: str | None


class FolderSource:
    """A folder with a folder for each class.

    A class folder is named after a finding of the model or `normal`, in any letter case, with blanks, hyphens or
    underscores between words. What lies in it at any depth is of that class.

    Args:
        folder: the folder of class folders.
        bundle: the model to be judged.
        change: made of each picture `[h, w]`, as it is shown, before it becomes a model input.

    Raises:
        EvaluationError: there is no folder of images in it, or one has a name that is no class.
    """

    def __init__(self, folder: Path, bundle: Bundle, change: Change | None = None) -> None:
        self._bundle, self._change = bundle, change
        self._files = tuple(_files(folder, _classes(folder, bundle)))
        self._paths: dict[str, Path] = {}
        self._contents: list[str] = []

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Example | Problem]:
        self._contents.clear()
        with _silence(), ThreadPoolExecutor(_READERS) as pool:
            reading: deque[Future[Example | Problem]] = deque()
            for number, file in enumerate(self._files, start=1):
                reading.append(pool.submit(self._read, number, file))
                if len(reading) >= _READ_AHEAD:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()

    def describe(self) -> Mapping[str, Any]:
        """Kind, number of files by class, and a SHA-256 over the classes and contents of all files."""
        counts = Counter(file.label or "no class" for file in self._files)
        digest = hashlib.sha256("\n".join(sorted(self._contents)).encode()).hexdigest()
        return {"kind": "folder", "files": dict(sorted(counts.items())), "sha256": digest}

    def display(self, name: str) -> NDArray[np.uint8] | None:
        """The image of an example as it is shown, `[rows, columns]`; None if it is gone."""
        path = self._paths[name]
        try:
            if path.suffix.lower() in RASTERS:
                return decode_raster(path.read_bytes())
            with _silence():
                return to_display(decode(path.read_bytes()), self._bundle.spec.window_percentiles)
        except (OSError, PixelError, NotAnImage, MemoryError):
            return None

    def whereabouts(self, name: str) -> str:
        """The file's path."""
        return str(self._paths[name])

    def _read(self, number: int, file: _File) -> Example | Problem:
        """Read a file; one that says nothing of its content is named by its number, never by its path."""
        name = f"file-{number}"
        self._paths[name] = file.path
        if file.label is None:
            return _problem(name, file, "in no class folder", "the file is in no class folder")
        if not file.path.is_file():
            return _problem(name, file, "no file", "a link to a folder or to nothing, a pipe, or the like")
        if file.path.suffix.lower() not in SUFFIXES:
            reason = f"the file's name ends with none of {', '.join(SUFFIXES)}"
            return _problem(name, file, "neither DICOM, JPEG nor PNG by its name", reason)
        try:
            content = file.path.read_bytes()
            name = self._named_by(content, file)
            return self._example(name, file.label, content, file.path.suffix.lower() in RASTERS)
        except OSError as error:
            return _problem(name, file, "cannot be opened", error.strerror or "cannot be opened")
        except NotAnImage as error:
            return _problem(name, file, "a DICOM object without pixels", str(error))
        except PixelError as error:
            return _problem(name, file, _KINDS[error.code], str(error))
        except MemoryError:
            return _problem(name, file, _KINDS[PixelErrorCode.TOO_LARGE], "it takes more memory than there is")

    def _named_by(self, content: bytes, file: _File) -> str:
        digest = hashlib.sha256(content).hexdigest()
        name = digest[:_ID_LENGTH]
        self._paths.setdefault(name, file.path)
        self._contents.append(f"{file.label}/{digest}")
        return name

    def _example(self, name: str, label: str, content: bytes, is_raster: bool) -> Example:
        pixels, geometry, header = self._raster_input(content) if is_raster else self._dicom_input(content)
        case = Case(
            name=name,
            # Files with the same content are the same image, whoever it is of.
            patient=text(header, "PatientID") or name,
            label=label,
            labels=labels_of(label, self._bundle.findings),
            attributes=attributes(header),
        )
        modality, body_part = text(header, "Modality"), text(header, "BodyPartExamined")
        return Example(case=case, pixels=pixels, geometry=geometry, modality=modality, body_part=body_part)

    def _raster_input(self, content: bytes) -> tuple[NDArray[np.uint8], Geometry, Dataset]:
        raster = decode_raster(content)
        return *raster_to_model_input(self._change(raster) if self._change else raster, self._bundle.spec), Dataset()

    def _dicom_input(self, content: bytes) -> tuple[NDArray[np.uint8], Geometry, Dataset]:
        image, spec = decode(content), self._bundle.spec
        if self._change is not None:
            return *raster_to_model_input(self._change(to_display(image, spec.window_percentiles)), spec), image.header
        return *to_model_input(image, spec), image.header


@contextmanager
def _silence() -> Iterator[None]:
    """Without warnings: pydicom warns of every deviation and quotes values there. Threads share this."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _problem(name: str, file: _File, kind: str, reason: str) -> Problem:
    return Problem(name=name, label=file.label, kind=kind, reason=reason)


def _classes(folder: Path, bundle: Bundle) -> dict[Path, str]:
    """The class of each folder in `folder`."""
    known = {_words(name): name for name in (NORMAL, *(finding.name for finding in bundle.findings))}
    expected = f"{folder}/<class>/… with DICOM, JPEG or PNG files, where a class is one of: {', '.join(known)}"
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise EvaluationError(f"{folder} cannot be read: {error.strerror}") from error
    if not folders:
        raise EvaluationError(f"{folder} holds no folders. Expected: {expected}")
    if strange := [path.name for path in folders if _words(path.name) not in known]:
        raise EvaluationError(
            f"{bundle.id} has no finding that the folder {strange[0]!r} could stand for"
            f"{f' (nor {len(strange) - 1} more)' if len(strange) > 1 else ''}. Expected: {expected}"
        )
    return {path: known[_words(path.name)] for path in folders}


def _words(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.strip())).casefold()


def _files(folder: Path, classes: Mapping[Path, str]) -> Iterator[_File]:
    for path in sorted(path for path in folder.iterdir() if not path.is_dir()):
        yield _File(path, None)
    for top, label in classes.items():
        for parent, folders, names in os.walk(top):
            # A link to a folder may lead round in a circle: it is listed like a file that cannot be opened.
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            folders.sort()
            for name in sorted([*names, *links]):
                yield _File(Path(parent) / name, label)
