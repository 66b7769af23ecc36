"""Which engine computes a bundle's network: JAX everywhere, OpenVINO where a site asks for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from models.bundle import Bundle
from models.predictor import Predictor

EngineName = Literal["jax", "openvino"]


def load_engine(
    name: EngineName, bundle: Bundle, batch_sizes: Sequence[int] | None = None, cache: Path | None = None
) -> Predictor:
    """A bundle's network in the engine of this name; the other one is not imported.

    Args:
        name: of the engine.
        bundle: the model.
        batch_sizes: sizes to compile for, ascending; what suits the engine by default.
        cache: folder where JAX keeps compiled programs for the next process; OpenVINO compiles faster than that pays.

    Raises:
        BundleError: the weights do not fit the architecture.
        EngineMissing: the engine is not installed.
    """
    if name == "openvino":
        from models.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(bundle, batch_sizes)
    from models.engine import Engine

    return Engine(bundle, batch_sizes, cache)
