"""The reader over a whole set, to calibrate it and to hold it against its labels."""

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from models.prediction import Prediction
from models.reader import Outputs, Reader
from training.fit.columns import Columns, in_order
from training.fit.feed import feed
from training.parallel import Layout

_BATCH = 64


def predict(model: Reader, pixels: NDArray[np.uint8], layout: Layout | None = None) -> Prediction:
    """Run the network on all of `[n, size, size]`, n at least 1, over all devices; no example is dropped.

    Args:
        model: the reader.
        pixels: model inputs, which may be an `np.memmap`.
        layout: devices to split batches over; all there are by default.
    """
    layout = layout or Layout.over()
    graph, state = nnx.split(model)
    state = layout.replicate(jax.tree.map(np.asarray, state))

    def forward(state: nnx.State[object, object], images: jax.Array) -> Outputs:
        outputs: Outputs = nnx.merge(graph, state)(images)
        return outputs

    compiled = jax.jit(forward, out_shardings=layout.replicated)
    plan = in_order(len(pixels), layout.fits(_BATCH))
    parts = [
        jax.device_get(compiled(state, batch["images"])) for batch in feed(Columns({"images": pixels}), plan, layout)
    ]
    return Prediction(*(np.concatenate(field)[: len(pixels)] for field in zip(*parts, strict=True)))
