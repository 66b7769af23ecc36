"""Inference: the network compiled ahead of time for a few batch sizes, other sizes padded and masked."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError
from models.prediction import Prediction
from models.reader import Outputs, ReaderArchitecture, restore


class Engine:
    """A bundle's network, ready to predict.

    Args:
        bundle: the model.
        batch_sizes: sizes to compile for, ascending; a batch between two of them is padded to the next, and one
            beyond the last is split.
        cache: folder of compiled programs that outlives the process; None keeps them in memory only.

    Raises:
        BundleError: the weights do not fit the architecture.
    """

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int] = (1, 8, 32), cache: Path | None = None) -> None:
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

    @property
    def largest_batch(self) -> int:
        """How many images one call of the network takes at most."""
        return self._batch_sizes[-1]

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
        # Programs run asynchronously: all parts are started before the first result is waited for.
        step = self.largest_batch
        started = [self._start(pixels[first : first + step]) for first in range(0, len(pixels), step)]
        return Prediction(
            *(
                np.concatenate([np.asarray(outputs[field])[:count] for count, outputs in started])
                for field in range(len(Outputs._fields))
            )
        )

    def _start(self, part: NDArray[np.uint8]) -> tuple[int, Outputs]:
        batch = next(size for size in self._batch_sizes if size >= len(part))
        padded = np.zeros((batch, *part.shape[1:]), np.uint8)
        padded[: len(part)] = part
        return len(part), self._program(batch)(self._state, padded)

    def _program(self, batch: int) -> Callable[..., Outputs]:
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
