"""Where objects are kept: the seam between `ObjectStore` and a folder or a bucket."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

READ_BYTES = 1 << 22
"""How much of an object is read at a time."""

PATIENCE_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 5 << 20

_NAME = re.compile(r"sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")

Piece = bytes | memoryview


def name_of(sha256: bytes) -> str:
    """The name of the object with this hash, `sha256/ab/abcd…`."""
    digits = sha256.hex()
    return f"sha256/{digits[:2]}/{digits}"


def sha256_of(name: str) -> bytes | None:
    """The hash in an object's name; None for the name of anything else, which is nothing of ours."""
    match = _NAME.fullmatch(name)
    return bytes.fromhex(match[2]) if match else None


def allowed_seconds(size: int) -> float:
    """How long an object of `size` bytes may be under way before the store counts as not there."""
    return PATIENCE_SECONDS + size / SLOWEST_BYTES_PER_SECOND


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as a listing shows it; size in bytes, `modified` by the store's clock."""

    sha256: bytes
    size: int
    modified: datetime


class Place(Protocol):
    """Keeps objects; every method raises `ObjectStoreUnavailable` where the place does not answer."""

    def write(self, sha256: bytes, size: int, pieces: Sequence[Piece]) -> None:
        """Returns once the object is whole, durable and as young as if it had just been made."""

    def open(self, sha256: bytes, size: int) -> BinaryIO:
        """The object as it is, to be read once from its start; raises `ObjectMissing`."""

    def entries(self) -> Iterator[Entry]:
        """Every object; nothing where none has been put yet."""

    def remove(self, sha256: bytes, before: datetime) -> bool:
        """Removes an object unless it was put again since `before`, and says whether it did."""

    def tidy(self, before: datetime) -> None:
        """Removes what puts that broke off before that time have left behind."""
