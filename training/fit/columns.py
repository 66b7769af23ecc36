"""A data set as named arrays of one length, which may lie in files."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

REAL = "real"
"""The column that a batch has besides those of its set: 1 for an example, 0 for what fills a last batch up."""
_BLOCK = 1024
_PADDING = -1


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Examples by column, such as `images` uint8 `[n, size, size]` and `labels` float32 `[n, findings]`.

    A column may be an `np.memmap`: rows are read when they are needed, so that a set never has to fit in memory.

    Raises:
        ValueError: there are no columns, or they differ in length.
    """

    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1 or REAL in lengths:
            raise ValueError(f"columns need one length and names other than {REAL!r}, got {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def take(self, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Read rows; -1 stands for no example and gives one whose `real` is 0."""
        kept = np.maximum(rows, 0)
        batch = {name: np.asarray(array[kept]) for name, array in self.arrays.items()}
        return {**batch, REAL: (rows >= 0).astype(np.float32)}

    def sha256(self) -> str:
        """SHA-256 in hex over names, types, shapes and values, read block by block."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            for first in range(0, len(array), _BLOCK):
                digest.update(np.ascontiguousarray(array[first : first + _BLOCK]).data)
        return digest.hexdigest()


def shuffled(count: int, batch: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """The rows `[steps, batch]` of one epoch in random order; what does not fill a batch waits for another epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    steps = count // batch
    return order[: steps * batch].reshape(steps, batch)


def in_order(count: int, batch: int) -> Iterator[NDArray[np.intp]]:
    """All rows in order, the last batch filled up with -1."""
    for first in range(0, count, batch):
        rows = np.arange(first, first + batch)
        yield np.where(rows < count, rows, _PADDING)
