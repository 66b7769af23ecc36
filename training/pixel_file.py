"""Model inputs in a file, `[n, size, size]` uint8 in NumPy's format: mapped into memory, read as they are needed."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


class PixelFileError(Exception):
    """A file of model inputs that is not the one that it should be."""


class PixelWriter:
    """Writes rows in any order."""

    def __init__(self, file: IO[bytes], shape: tuple[int, int, int]) -> None:
        npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self._file = file
        self._start = file.tell()
        self._row_bytes = shape[1] * shape[2]
        file.truncate(self._start + shape[0] * self._row_bytes)

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Puts the pixels `[size, size]` into a row."""
        self._file.seek(self._start + row * self._row_bytes)
        self._file.write(pixels.astype(np.uint8, copy=False).tobytes())


def sha256(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 in hex of the pixels, row by row."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@contextmanager
def writing(path: Path, shape: tuple[int, int, int]) -> Iterator[PixelWriter]:
    """The file under its name once all is written and synced; if that fails, there is none."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False) as file:
        try:
            yield PixelWriter(cast(IO[bytes], file), shape)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink()
            raise


def verified(path: Path, sha256s: Sequence[str], size: int) -> NDArray[np.uint8]:
    """The file mapped into memory, once each of its rows has the SHA-256 that it should have.

    Raises:
        PixelFileError: it is another file, or was altered.
    """
    shape = (len(sha256s), size, size)
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            found = npy.read_array_header_1_0(file) if version == (1, 0) else None
            if found != (shape, False, np.dtype(np.uint8)):
                raise PixelFileError(f"{path.name} holds something else")
            start = file.tell()
            for row, expected in enumerate(sha256s):
                if hashlib.sha256(file.read(size * size)).hexdigest() != expected:
                    raise PixelFileError(f"row {row} of {path.name} is not what was written")
    except (OSError, ValueError) as error:
        raise PixelFileError(f"{path.name} cannot be read ({type(error).__name__})") from error
    return np.memmap(path, np.uint8, "r", start, shape)
