"""MedMNIST's `.npz`: arrays of images and labels, `train_`, `val_` and `test_`, of any size.

Images are read one at a time from where they stand in the file: a set of 224 pixels has gigabytes.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from training.archive.errors import ArchiveError
from training.archive.example import NORMAL, SEPARATOR, Example, raster
from training.archive.medmnist import CLASSES
from training.archive.zip_file import ZipBacked
from training.findings import NORMAL as NORMALS
from training.findings import spelled, with_parents

PARTS: Final = ("train", "val", "test")


class NpzArchive(ZipBacked):
    """A MedMNIST set; use as a context manager.

    Patients are not in such files: each image counts as one of a patient of its own.
    """

    def __init__(self, path: Path, classes: Sequence[str] = ()) -> None:
        """Reads the labels.

        Args:
            path: the file; its name tells which set it is, e.g. `pneumoniamnist_224.npz`.
            classes: names of the labels in their order, for a set that is not known here.

        Raises:
            ArchiveError: it is no such file, or the names of its classes are not known.
        """
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ArchiveError(f"{path} is not a readable .npz: {error}") from error
        self.path = path
        self._images: dict[str, _Images] = {}
        self._classes = tuple(map(spelled, classes)) or CLASSES.get(path.stem.partition("_")[0], ())
        if not self._classes:
            raise ArchiveError(f"the classes of {path.name} are not known: name them in order, --class NAME for each")
        self.examples: tuple[Example, ...] = tuple(self._read_examples())

    def content(self, example: Example) -> NDArray[np.uint8]:
        """One image, `[h, w]` or `[h, w, 3]`.

        Raises:
            ArchiveError: the file is broken there.
        """
        part, _, number = example.file.partition("/")
        with _at_fault(self.path):
            return self._images[part].read(int(number))

    def read(self, example: Example) -> NDArray[np.uint8]:
        """The same as `content`."""
        return self.content(example)

    def sha256(self) -> str:
        """SHA-256 in hex of the file."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def _read_examples(self) -> Iterator[Example]:
        with _at_fault(self.path):
            names = set(self._zip.namelist())
            parts = [part for part in PARTS if f"{part}_images.npy" in names]
            if not parts:
                raise ArchiveError(f"{self.path.name} holds no train_images, val_images or test_images")
            for part in parts:
                images = self._images[part] = _Images(self._zip, f"{part}_images.npy")
                labels = self._labels(f"{part}_labels.npy", len(images))
                for number, line in enumerate(labels):
                    yield self._example(f"{part}/{number:06d}", line)

    def _labels(self, member: str, count: int) -> NDArray[np.int64]:
        """`[count, 1]`, the number of a class, or `[count, classes]` of 0 and 1."""
        with self._zip.open(member) as stream:
            read = npy.read_array(stream, allow_pickle=False)
        labels = read.reshape(len(read), -1) if read.ndim else read
        if labels.ndim != 2 or len(labels) != count or labels.shape[1] not in (1, len(self._classes)):
            raise ArchiveError(f"{member} of {self.path.name} is {read.shape}: not a label for each of {count} images")
        most = len(self._classes) if labels.shape[1] == 1 else 2
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < most:
            raise ArchiveError(f"{member} of {self.path.name} has labels that are not 0 to {most - 1}")
        return labels.astype(np.int64)

    def _example(self, file: str, line: NDArray[np.int64]) -> Example:
        """Classes of one label exclude one another; of labels that are listed, all are known."""
        chosen = np.flatnonzero(line) if len(line) > 1 else line
        findings = frozenset(self._classes) - NORMALS
        present = with_parents(frozenset(self._classes[number] for number in chosen) - NORMALS)
        label = SEPARATOR.join(sorted(present)) or NORMAL
        return Example(file, label, file, present, with_parents(findings) - present)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the images are in their member: `offset` is of the first, in bytes."""

    offset: int
    shape: tuple[int, ...]

    @property
    def image_bytes(self) -> int:
        return int(np.prod(self.shape[1:]))


class _Images:
    """The images of one part, read where they stand; going on is quick, going back may begin anew."""

    def __init__(self, archive: zipfile.ZipFile, member: str) -> None:
        self._stream: IO[bytes] = archive.open(member)
        self._layout = _layout(self._stream, member)

    def __len__(self) -> int:
        return self._layout.shape[0]

    def read(self, number: int) -> NDArray[np.uint8]:
        layout = self._layout
        self._stream.seek(layout.offset + number * layout.image_bytes)
        content = self._stream.read(layout.image_bytes)
        if len(content) < layout.image_bytes:
            raise EOFError("cut off")
        return raster(np.frombuffer(content, np.uint8).reshape(layout.shape[1:]))


def _layout(stream: IO[bytes], member: str) -> _Layout:
    version = npy.read_magic(cast(Any, stream))
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, in_columns, dtype = read(cast(Any, stream))
    pictures = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
    if dtype != np.uint8 or in_columns or not pictures:
        raise ArchiveError(f"{member} is {dtype} {shape}: only pictures are read, uint8 [n, h, w] or [n, h, w, 3]")
    return _Layout(stream.tell(), shape)


@contextmanager
def _at_fault(path: Path) -> Iterator[None]:
    """What numpy and zipfile make of malformed bytes.

    Raises:
        ArchiveError: in place of it.
    """
    try:
        yield
    except (KeyError, ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArchiveError(
            f"{path.name} is no .npz of images and labels, or broken ({type(error).__name__})"
        ) from error
