"""Inference: the network compiled ahead of time for a few batch sizes, other sizes padded and masked.

On a CPU a batch is shared out among threads, a core each. The compiler would rather share out each single operation,
but its convolutions are too small for that: of two cores it kept one and a third busy. Parts are small there, so that
what one layer leaves is still in the core's cache when the next one reads it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError
from models.prediction import Prediction
from models.reader import Outputs, ReaderArchitecture, restore

_CPU_SIZES: Final = (1, 2, 4)
_ACCELERATOR_SIZES: Final = (1, 8, 32)
_CALL: Final = 32
"""Images that are asked for together, so that what a call costs besides its work is shared by many."""


class Engine:
    """A bundle's network, ready to predict.

    Args:
        bundle: the model.
        batch_sizes: sizes to compile for, ascending; a part of a batch that is between two of them is padded to the
            next. What suits the device by default.
        cache: folder of compiled programs that outlives the process; None keeps them in memory only.

    Raises:
        BundleError: the weights do not fit the architecture.
    """

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int] | None = None, cache: Path | None = None) -> None:
        on_cpu = jax.default_backend() == "cpu"
        if batch_sizes is None:
            batch_sizes = _CPU_SIZES if on_cpu else _ACCELERATOR_SIZES
        if not batch_sizes or batch_sizes[0] < 1 or any(a >= b for a, b in pairwise(batch_sizes)):
            raise ValueError(f"batch sizes must be positive and ascend, got {tuple(batch_sizes)}")
        if cache is not None:
            _persist_compilation(cache)
        try:
            model = restore(ReaderArchitecture.from_json(bundle.architecture), bundle.weights)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{bundle.id} cannot be built: {error}") from error
        self.bundle = bundle
        self._batch_sizes = tuple(batch_sizes)
        self._graph, self._state = nnx.split(model)
        self._programs: dict[int, Callable[..., Outputs]] = {}
        self._compiling = threading.Lock()
        self._shares = len(os.sched_getaffinity(0)) if on_cpu else 1
        # Two for an accelerator too: the next part is sent while one is worked on.
        self._pool = ThreadPoolExecutor(max(2, self._shares), thread_name_prefix="engine")

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

    def _parts(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """The batch in parts of a compiled size, the last one smaller: one a core, or more where it is large."""
        step = self._fitting(min(-(-len(pixels) // self._shares), self._batch_sizes[-1]))
        for first in range(0, len(pixels), step):
            yield pixels[first : first + step]

    def _run(self, part: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        batch = self._fitting(len(part))
        padded = np.zeros((batch, *part.shape[1:]), np.uint8)
        padded[: len(part)] = part
        return [np.asarray(field)[: len(part)] for field in self._program(batch)(self._state, padded)]

    def _fitting(self, count: int) -> int:
        return next(size for size in self._batch_sizes if size >= count)

    def _program(self, batch: int) -> Callable[..., Outputs]:
        with self._compiling:
            if batch not in self._programs:
                size = self.bundle.spec.size
                shape = jax.ShapeDtypeStruct((batch, size, size), np.uint8)  # type: ignore[no-untyped-call]
                self._programs[batch] = jax.jit(self._forward).lower(self._state, shape).compile()
            return self._programs[batch]

    def _forward(self, state: nnx.State[Any, Any], images: jax.Array) -> Outputs:
        outputs: Outputs = nnx.merge(self._graph, state)(images)
        return outputs


def _persist_compilation(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for option, value in (
        ("jax_compilation_cache_dir", str(folder)),
        ("jax_persistent_cache_min_compile_time_secs", 0),
        ("jax_persistent_cache_min_entry_size_bytes", -1),
    ):
        jax.config.update(option, value)  # type: ignore[no-untyped-call]
