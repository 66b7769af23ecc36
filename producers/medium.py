"""Media: a folder whose DICOMDIR names its DICOM files (PS3.10 section 8), as a CD has it and a PACS exports it.

Beside those files media carry viewers, their libraries and leaflets: what the DICOMDIR does not name is looked at all
the same, since some are out of date, and accompanies the others if it is not DICOM.
"""

from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final

from pydicom import dcmread

from producers.errors import BrokenObject, Incomplete, TooLarge
from producers.parcels import DICOMDIR, files_below
from producers.part10 import PREAMBLE_BYTES, has_preamble
from radiolog.settings import MIB

MAX_DICOMDIR_BYTES: Final = 256 * MIB
MAX_FILES: Final = 100_000


def objects_of(folder: Path) -> Iterator[Path]:
    """The files of a medium that are to be published, once all that its DICOMDIR names is there.

    Raises:
        BrokenObject: the DICOMDIR cannot be read.
        Incomplete: it names files that are not there.
        TooLarge: there are more files than a medium may have.
        OSError: something cannot be read.
    """
    files = [(_key(path, folder), path) for path in islice(files_below(folder), MAX_FILES + 1)]
    if len(files) > MAX_FILES:
        raise TooLarge(f"the medium has more than {MAX_FILES} files: split it")
    directories = [path for key, path in files if key == DICOMDIR]
    named = set[str]().union(*map(_named_by, directories))
    if missing := len(named - {key for key, _ in files}):
        raise Incomplete(f"the DICOMDIR names {len(named)} files, {missing} of them are not there: copy it again")
    return (path for key, path in files if key != DICOMDIR and (key in named or begins_as_dicom(path)))


def begins_as_dicom(path: Path) -> bool:
    """Whether a file begins as PS3.10 section 7.1 wants it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return has_preamble(file.read(PREAMBLE_BYTES + 4))


def _named_by(dicomdir: Path) -> set[str]:
    """What Referenced File ID (0004,1500) of each record names, as `_key` writes it."""
    size = dicomdir.stat().st_size
    if size > MAX_DICOMDIR_BYTES:
        raise TooLarge(f"the DICOMDIR has {size} bytes, {MAX_DICOMDIR_BYTES} are read")
    content = dicomdir.read_bytes()  # now: pydicom's own OSErrors are of what stands in it
    try:
        records = dcmread(BytesIO(content), specific_tags=["DirectoryRecordSequence"]).DirectoryRecordSequence
        return {key for record in records if (key := _file_id(record.get("ReferencedFileID")))}
    except Exception as error:  # pydicom raises whatever the bytes lead it to
        raise BrokenObject(f"the DICOMDIR is broken ({type(error).__name__})") from None


def _file_id(components: object) -> str:
    """A Referenced File ID as one key; it is looked up among names, and never becomes a path."""
    parts = [components] if isinstance(components, str) else list(components or [])  # type: ignore[call-overload]
    return "/".join(str(part).strip() for part in parts).upper()


def _key(path: Path, folder: Path) -> str:
    """A file's place on the medium; file systems spell `IM1` as `im1` or `IM1.;1` (ISO 9660 section 7.5)."""
    return path.relative_to(folder).as_posix().partition(";")[0].rstrip(".").upper()
