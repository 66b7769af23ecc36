"""A bundle's network, ready to predict, whatever computes it: batches are shared out, padded and put together here."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.prediction import Prediction

_CALL: Final = 32
"""Images that are asked for together, so that what a call costs besides its work is shared by many."""

Program = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]
"""A network for one batch size: `[batch, size, size]` to the fields of a `Prediction`; several threads may call it."""


class Predictor(ABC):
    """What serves a bundle's network.

    Args:
        bundle: the model.
        batch_sizes: sizes to compile for, ascending; a part of a batch that is between two of them is padded to the
            next.
        shares: how many parts of a batch are computed at a time.
    """

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int], shares: int) -> None:
        if not batch_sizes or batch_sizes[0] < 1 or any(a >= b for a, b in pairwise(batch_sizes)):
            raise ValueError(f"batch sizes must be positive and ascend, got {tuple(batch_sizes)}")
        self.bundle = bundle
        self._batch_sizes = tuple(batch_sizes)
        self._programs: dict[int, Program] = {}
        self._compiling = threading.Lock()
        self._shares = shares
        # Two where there is one share, too: the next part is sent while one is worked on.
        self._pool = ThreadPoolExecutor(max(2, shares), thread_name_prefix="engine")

    @property
    def largest_batch(self) -> int:
        """How many images a call should have at most: more of them take no less time each."""
        return max(_CALL, self._shares * self._batch_sizes[-1])

    def warm_up(self) -> None:
        """Compile for every batch size now, so that no prediction waits for it."""
        for batch in self._batch_sizes:
            self._program(batch)

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """Run the network on `[n, size, size]` model inputs, n at least 1.

        Raises:
            ValueError: the pixels are of another shape or type.
        """
        size = self.bundle.spec.size
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (size, size) or not len(pixels):
            raise ValueError(f"{self.bundle.id} reads uint8 [n, {size}, {size}], not {pixels.dtype} {pixels.shape}")
        outputs = list(self._pool.map(self._run, self._parts(pixels)))
        return Prediction(*(np.concatenate(field) for field in zip(*outputs, strict=True)))

    @abstractmethod
    def _compile(self, batch: int) -> Program:
        """The network for batches of this size."""

    def _parts(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The batch in parts of a compiled size, the last one smaller: one a share, or more where it is large."""
        step = self._fitting(min(-(-len(pixels) // self._shares), self._batch_sizes[-1]))
        for first in range(0, len(pixels), step):
            yield pixels[first : first + step]

    def _run(self, part: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        batch = self._fitting(len(part))
        padded = np.zeros((batch, *part.shape[1:]), np.uint8)
        padded[: len(part)] = part
        return [field[: len(part)] for field in self._program(batch)(padded)]

    def _fitting(self, count: int) -> int:
        return next(size for size in self._batch_sizes if size >= count)

    def _program(self, batch: int) -> Program:
        with self._compiling:
            if batch not in self._programs:
                self._programs[batch] = self._compile(batch)
            return self._programs[batch]
