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
        lungs: float32 `[n, k * h, k * w]` with a whole k, how likely each place of the square is lung, 0 to 1.
    """

    logits: NDArray[np.float32]
    maps: NDArray[np.float32]
    embeddings: NDArray[np.float32]
    lungs: NDArray[np.float32]
