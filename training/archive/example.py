"""One labelled image of an archive, and what the archive says of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.archive.errors import ArchiveError
from training.findings import NORMAL as NORMALS
from training.findings import SUBTYPES, spelled, with_parents

NORMAL: Final = "normal"
MAX_BYTES: Final = 1 << 30
"""Of one image's file: what is larger is none, or made to fill the memory."""
SEPARATOR: Final = "|"
"""Between several labels of one image."""

Content = bytes | NDArray[np.uint8]
"""An image as its archive holds it: a file (JPEG, PNG, DICOM Part 10), or a raster `[h, w]` or `[h, w, 3]` in RGB."""


@dataclass(frozen=True, slots=True)
class Example:
    """One image: its name in the archive, its label there, and the patient that it belongs to.

    Attributes:
        file: a name that no other image of the archive has, and that stays.
        label: as the archive has it; `normal` for none.
        patient: who it is of, as the archive numbers them.
        present: findings that the archive says are there.
        absent: findings that it says are not there. Of any other it says nothing.
    """

    file: str
    label: str
    patient: str
    present: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()

    def says(self, finding: str) -> bool | None:
        """Whether the finding is there; None where the archive does not say."""
        if finding in self.present:
            return True
        return False if finding in self.absent else None


@dataclass(frozen=True, slots=True)
class Row:
    """A line of an index, as it is written: labels and subtypes are not looked at yet."""

    file: str
    label: str
    patient: str
    subtype: str = ""

    @property
    def present(self) -> frozenset[str]:
        """What it says is there, with what follows from that."""
        return with_parents(self._labels | self._subtypes)

    @property
    def is_normal(self) -> bool:
        """Whether it says that nothing is there.

        Raises:
            ArchiveError: it says so, and names a finding.
        """
        is_normal = bool({spelled(word) for word in self.label.split(SEPARATOR)} & NORMALS)
        if is_normal and self.present:
            raise ArchiveError(f"{self.file} is labelled {self.label!r} {self.subtype!r}: normal, and not")
        return is_normal

    @property
    def _labels(self) -> frozenset[str]:
        return frozenset(name for word in self.label.split(SEPARATOR) if (name := spelled(word))) - NORMALS

    @property
    def _subtypes(self) -> frozenset[str]:
        name = spelled(self.subtype)
        return frozenset({SUBTYPES.get(name, name)} if name else ()) - NORMALS


def understood(rows: Iterable[Row]) -> tuple[Example, ...]:
    """What the lines of an index say, each in the light of the others.

    A normal image has none of the findings that the index names anywhere. Subtypes exclude one another. An image that
    is labelled with one finding may have others that it is not labelled with: of these nothing is said.

    Raises:
        ArchiveError: a line contradicts itself, or two have the same file.
    """
    known = tuple(rows)
    if twice := [file for file, count in Counter(row.file for row in known).items() if count > 1]:
        raise ArchiveError(f"the index names {twice[0]} more than once")
    named = frozenset[str]().union(*(row.present for row in known))
    kinds = frozenset[str]().union(*(row._subtypes for row in known))
    return tuple(_example(row, named, kinds) for row in known)


def _example(row: Row, named: frozenset[str], kinds: frozenset[str]) -> Example:
    if row.is_normal:
        return Example(row.file, NORMAL, row.patient, absent=named)
    absent = kinds - row.present if row._subtypes else frozenset()
    return Example(row.file, SEPARATOR.join(sorted(row._labels)), row.patient, row.present, absent - row.present)


def is_dicom(content: Content) -> bool:
    """Whether it is a DICOM file (PS3.10 section 7.1)."""
    return isinstance(content, bytes) and content[128:132] == b"DICM"


def raster(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of an array as content."""
    return np.ascontiguousarray(pixels, np.uint8)
