"""What JPEG does to grey levels: the quantised cosine transform of 8 x 8 blocks (ITU-T T.81), without the coding."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

_EDGE = 8
# ITU-T T.81 Annex K, table K.1, luminance.
_STEPS = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ],
    np.float32,
)
_MIDDLE = 128 / 255
"""What is taken off before the transform (A.3.1)."""
_FINEST, _COARSEST = 0.2, 2.5
"""Factors of the table: qualities of 90 and 20 in the scale of the Independent JPEG Group."""


def compress(key: jax.Array, image: jax.Array, chance: float) -> jax.Array:
    """Quantise one image `[h, w]` of 0..1 by a random quality, or leave it as it is."""
    whether, quality = jax.random.split(key)
    factor = jnp.exp(jax.random.uniform(quality, minval=float(np.log(_FINEST)), maxval=float(np.log(_COARSEST))))
    return jnp.where(jax.random.bernoulli(whether, chance), quantised(image, factor), image)


def quantised(image: jax.Array, factor: jax.Array | float) -> jax.Array:
    """Round the cosine transform of each block to multiples of the table's steps times `factor`."""
    height, width = image.shape
    rows, columns = -height % _EDGE, -width % _EDGE
    padded = jnp.pad(image, ((0, rows), (0, columns)), mode="edge")
    down, across = padded.shape[0] // _EDGE, padded.shape[1] // _EDGE
    blocks = padded.reshape(down, _EDGE, across, _EDGE).swapaxes(1, 2).reshape(-1, _EDGE * _EDGE)
    steps = jnp.asarray(_STEPS / 255.0) * factor
    transform = jnp.asarray(_transform())
    exact = jax.lax.Precision.HIGHEST
    coefficients = jnp.matmul(blocks - _MIDDLE, transform.T, precision=exact)
    kept = jnp.round(coefficients / steps) * steps
    levels = jnp.matmul(kept, transform, precision=exact) + _MIDDLE
    back = levels.reshape(down, across, _EDGE, _EDGE).swapaxes(1, 2).reshape(padded.shape)
    return back[:height, :width]


def _transform() -> NDArray[np.float32]:
    """The orthonormal cosine transform of a block as one matrix `[64, 64]`."""
    index = np.arange(_EDGE)
    rows = np.cos(np.pi * (2 * index + 1) * index[:, None] / (2 * _EDGE)) * np.sqrt(2 / _EDGE)
    rows[0] = np.sqrt(1 / _EDGE)
    return np.kron(rows, rows).astype(np.float32)
