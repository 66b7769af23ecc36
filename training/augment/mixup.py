"""Mixed examples: each with its neighbour in the batch, labels in the same proportion (Zhang et al., ICLR 2018)."""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def mix(key: jax.Array, batch: Tree, strength: float) -> Tree:
    """Mix every array `[n, ...]` of a batch by the same shares, each example's own part the larger.

    The order of a batch is random already, so that the neighbour is a random partner. A label that is unknown (nan) in
    either is unknown in the mixture.

    Args:
        key: of the shares.
        batch: a tree of float arrays.
        strength: both parameters of the beta distribution; 0 mixes nothing.
    """
    if not strength:
        return batch
    count = jax.tree.leaves(batch)[0].shape[0]
    drawn = jax.random.beta(key, strength, strength, (count,))
    own = jnp.maximum(drawn, 1.0 - drawn)

    def mixed(values: jax.Array) -> jax.Array:
        share = own.reshape(-1, *[1] * (values.ndim - 1))
        return share * values + (1.0 - share) * jnp.roll(values, 1, axis=0)

    result: Tree = jax.tree.map(mixed, batch)
    return result
