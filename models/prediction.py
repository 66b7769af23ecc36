"""What a network says, as plain arrays: whoever reads them needs no JAX."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network says of n images.

    Attributes:
        logits: float32 `[n, findings]`, not calibrated.
        maps: float32 `[n, findings, h, w]`, explanation maps over the model's square, never negative.
        embeddings: float32 `[n, d]`.
    """

    logits: NDArray[np.float32]
    maps: NDArray[np.float32]
    embeddings: NDArray[np.float32]
