"""The bundle's network. It is radiolog's own, `models.engine`: the one part of it that a peer's pipeline calls.

It needs the checkout on PYTHONPATH, and of the peers' environment JAX, Flax and safetensors.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.bundle import load_bundle
from models.decision import Reading, interpret
from models.engine import Engine


class Network:
    """Reads pixels; compiled for the sizes of batches that it is to get.

    Args:
        bundle: of the model.
        compiled: folder of compiled programs.
        sizes: of batches; what radiolog's own stage takes where nothing is said.
    """

    def __init__(self, bundle: str, compiled: Path, sizes: Sequence[int] | None = None) -> None:
        self._engine = Engine(load_bundle(bundle), sizes, compiled)
        self._engine.warm_up()

    def read(self, pixels: Sequence[bytes]) -> list[Reading]:
        """What it says of each picture, with the decisions."""
        bundle = self._engine.bundle
        shape = bundle.spec.size, bundle.spec.size
        stacked = np.stack([np.frombuffer(one, np.uint8).reshape(shape) for one in pixels])
        return interpret(bundle, self._engine.predict(stacked))
