"""A hidden rectangle (DeVries and Taylor, 2017): no single place may decide."""

import jax
import jax.numpy as jnp

_LEAST, _GREATEST = 0.05, 0.3
"""Edges of the rectangle, as shares of the image's."""


def cut_out(key: jax.Array, image: jax.Array, chance: float) -> jax.Array:
    """Fill a random rectangle of one image `[h, w]` with its mean, or leave it as it is."""
    whether, edges, centre = jax.random.split(key, 3)
    reach = jax.random.uniform(edges, (2,), minval=_LEAST, maxval=_GREATEST) / 2
    middle = jax.random.uniform(centre, (2,))
    down, across = (
        jnp.abs((jnp.arange(length) + 0.5) / length - middle[axis]) < reach[axis]
        for axis, length in enumerate(image.shape)
    )
    hidden = down[:, None] & across & jax.random.bernoulli(whether, chance)
    return jnp.where(hidden, image.mean(), image)
