"""The same picture twice: in training and in test data, it would make a model look better than it is.

Exact duplicates have the same model input. Near ones are copies that went through another export: compressed, scaled,
brightened a little. Two questions are asked, because chest radiographs of different people are much alike:

1. Is the perceptual hash the same in all but `HASH_BITS` of 64 bits? It is the sign of the 8 x 8 lowest frequencies of
   a discrete cosine transform about their median (Zauner, Implementation and Benchmarking of Perceptual Image Hash
   Functions, 2010). The hash of differences (dHash) is of no use: it is the same for hundreds of pairs of children.
2. Do the pictures at 32 x 32 pixels correlate with at least `LIKENESS`?

Both limits were measured on 5,216 radiographs. Of copies that were compressed (JPEG, quality 50), blurred, halved,
framed or brightened a little (gamma 0.8), 98 in 100 or more are found; of 13.6 million pairs of pictures that are not
copies none is taken for one, while the hash alone would take 134 at four bits. A copy that was turned, cropped or
shifted by some per cent is not found, and neither is a second exposure of the same patient, whom splits keep together.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from training.split import ORDER, Split

HASH_BITS: Final = 8
LIKENESS: Final = 0.98
_EDGE, _FREQUENCIES = 32, 8


class Kind(StrEnum):
    """How much of a duplicate."""

    EXACT = "exact"
    NEAR = "near"


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is kept of a picture: SHA-256 of its pixels, 64 bits of perceptual hash, and 32 x 32 pixels."""

    sha256: bytes
    hash: int
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, by their numbers, the smaller first."""

    first: int
    second: int
    kind: Kind


def fingerprint(pixels: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of a model input `[h, w]`."""
    small = cv2.resize(pixels, (_EDGE, _EDGE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_FREQUENCIES, :_FREQUENCIES]
    bits = np.packbits((low > np.median(low)).ravel())
    digest = hashlib.sha256(pixels.tobytes()).digest()
    return Fingerprint(digest, int.from_bytes(bits.tobytes(), "big"), np.asarray(small, np.uint8))


def pairs(fingerprints: Sequence[Fingerprint]) -> Iterator[Pair]:
    """Every pair of duplicates; it compares each with each, a billion pairs in some seconds."""
    hashes = np.array([print_.hash for print_ in fingerprints], np.uint64)
    for first in range(len(fingerprints) - 1):
        distances = np.bitwise_count(hashes[first] ^ hashes[first + 1 :])
        for second in (first + 1 + np.flatnonzero(distances <= HASH_BITS)).tolist():
            if (kind := _kind(fingerprints[first], fingerprints[second])) is not None:
                yield Pair(first, second, kind)


@dataclass(frozen=True, slots=True)
class Leak:
    """A picture that has a duplicate in a later split: it is left out, by its number."""

    number: int
    like: int
    kind: Kind


def leaks(found: Sequence[Pair], splits: Sequence[Split]) -> list[Leak]:
    """What must be left out so that no picture has a duplicate in another split: always that on the training side."""
    out: dict[int, Leak] = {}
    for pair in found:
        early, late = sorted((pair.first, pair.second), key=lambda number: ORDER.index(splits[number]))
        if splits[early] is not splits[late] and early not in out:
            out[early] = Leak(early, late, pair.kind)
    return [out[number] for number in sorted(out)]


def counted(found: Sequence[Pair], splits: Sequence[Split]) -> dict[str, int]:
    """How many pairs there are of each kind, within and across splits."""
    counts = Counter((pair.kind, splits[pair.first] is splits[pair.second]) for pair in found)
    return {
        f"{kind} {'within' if within else 'across'} splits": counts[kind, within]
        for kind in Kind
        for within in (True, False)
    }


def _kind(one: Fingerprint, other: Fingerprint) -> Kind | None:
    if one.sha256 == other.sha256:
        return Kind.EXACT
    return Kind.NEAR if _correlation(one.thumbnail, other.thumbnail) >= LIKENESS else None


def _correlation(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Pearson's; 0 for a picture of one grey level, which is like no other."""
    first, second = (picture.astype(np.float64).ravel() - picture.mean() for picture in (one, other))
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norm if norm else 0.0
