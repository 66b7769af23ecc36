"""What readers of zip files have in common."""

import zipfile
import zlib
from types import TracebackType
from typing import Final, Self

BROKEN: Final = (KeyError, OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error)
"""What zipfile makes of an entry that is missing, encrypted, packed in a strange way, or broken."""


class ZipBacked:
    """Something that reads an open zip; as a context manager it closes it."""

    _zip: zipfile.ZipFile

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
