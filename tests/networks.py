"""Networks of random weights, drawn by numpy: building one by its own initialisers compiles for seconds."""

import numpy as np
from flax import nnx

from models.reader import Reader, ReaderArchitecture, restore


def random_reader(architecture: ReaderArchitecture, seed: int = 0) -> Reader:
    """A reader whose layers keep the size of what they are given, about."""
    rng = np.random.default_rng(seed)
    shapes = nnx.state(nnx.eval_shape(lambda: Reader(architecture, rngs=nnx.Rngs(0))), nnx.Param)
    drawn = {path: _drawn(rng, value.shape) for path, value in nnx.to_flat_state(shapes)}
    return restore(architecture, {".".join(map(str, path)): values for path, values in drawn.items()})


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) / np.sqrt(max(1, int(np.prod(shape[:-1]))))
