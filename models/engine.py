"""Inference in JAX: the network compiled ahead of time for a few batch sizes, on whatever device there is.

On a CPU a batch is shared out among threads, a core each. The compiler would rather share out each single operation,
but its convolutions are too small for that: of two cores it kept one and a third busy. Parts are small there, so that
what one layer leaves is still in the core's cache when the next one reads it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from models.bundle import Bundle, BundleError
from models.predictor import Predictor, Program
from models.reader import Outputs, ReaderArchitecture, restore

_CPU_SIZES: Final = (1, 2, 4)
_ACCELERATOR_SIZES: Final = (1, 8, 32)


class Engine(Predictor):
    """A bundle's network in JAX.

    Args:
        bundle: the model.
        batch_sizes: sizes to compile for, ascending; what suits the device by default.
        cache: folder of compiled programs that outlives the process; None keeps them in memory only.

    Raises:
        BundleError: the weights do not fit the architecture.
    """

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int] | None = None, cache: Path | None = None) -> None:
        on_cpu = jax.default_backend() == "cpu"
        if batch_sizes is None:
            batch_sizes = _CPU_SIZES if on_cpu else _ACCELERATOR_SIZES
        super().__init__(bundle, batch_sizes, shares=len(os.sched_getaffinity(0)) if on_cpu else 1)
        if cache is not None:
            _persist_compilation(cache)
        try:
            model = restore(ReaderArchitecture.from_json(bundle.architecture), bundle.weights)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{bundle.id} cannot be built: {error}") from error
        self._graph, self._state = nnx.split(model)

    def _compile(self, batch: int) -> Program:
        compiled = self._compiled(batch)

        def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            return [np.asarray(field) for field in compiled(self._state, pixels)]

        return run

    def _compiled(self, batch: int) -> jax.stages.Compiled:
        size = self.bundle.spec.size
        shape = jax.ShapeDtypeStruct((batch, size, size), np.uint8)  # type: ignore[no-untyped-call]
        return jax.jit(self._forward).lower(self._state, shape).compile()

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
