"""Where a simulated fleet has its images from: the pictures and DICOM files of a folder or a zip."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Final

PICTURES: Final = frozenset({".png", ".jpg", ".jpeg"})
_DICOM_AT: Final = 128


class SourceError(Exception):
    """The archive cannot be read; the message says what it should hold."""


class Archive:
    """Pictures (PNG, JPEG) and DICOM files, in the order of their names; whatever else is there is passed over.

    Any number of threads may read.
    """

    def __init__(self, path: Path) -> None:
        """Lists what is there.

        Raises:
            SourceError: it is neither a folder nor a zip, or holds neither pictures nor DICOM files.
        """
        self._path = path
        try:
            self._zip = None if path.is_dir() else zipfile.ZipFile(path)
            self._names = [name for name in sorted(self._all_names()) if self._is_image(name)]
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise SourceError(f"{path} can't be read as a folder or a zip ({error})") from None
        if not self._names:
            raise SourceError(f"{path} holds no PNG, JPEG or DICOM file")

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The name of an image, relative to the archive."""
        return self._names[index]

    def is_picture(self, index: int) -> bool:
        """Whether it is a PNG or a JPEG; else it is a DICOM file."""
        return _is_picture(self._names[index])

    def read(self, index: int) -> bytes:
        """The bytes of an image.

        Raises:
            SourceError: it is gone, or the zip is broken there.
        """
        return self._read(self._names[index])

    def _all_names(self) -> list[str]:
        if self._zip is not None:
            return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]
        found = (Path(folder, name) for folder, _, names in os.walk(self._path) for name in names)
        return [str(path.relative_to(self._path)) for path in found if path.is_file()]

    def _is_image(self, name: str) -> bool:
        return _is_picture(name) or self._read(name, _DICOM_AT + 4)[_DICOM_AT:] == b"DICM"

    def _read(self, name: str, limit: int = -1) -> bytes:
        try:
            with (self._path / name).open("rb") if self._zip is None else self._zip.open(name) as opened:
                return opened.read(limit)
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise SourceError(f"{name} in {self._path} can't be read ({error})") from None


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in PICTURES
