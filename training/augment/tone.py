"""Exposure and processing: grey levels change, places do not. Images are float32 `[h, w]` in 0..1."""

import jax
import jax.numpy as jnp

from training.augment.compression import compress
from training.augment.extent import Augmentation

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_SHADES = 3
"""Nodes of the shading, along each edge."""
_DARKEST = 1e-6
"""Zero has no derivative under a power below 1, and no logarithm."""


def tone(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    """Change the tone of one image, in the order of an imaging chain: detector, processing, export.

    Changes without an extent cost nothing: which there are is decided when the program is compiled.
    """
    edges, curve, shade, export, grain = jax.random.split(key, 5)
    if config.sharpness or config.blur:
        image = _refocus(edges, image, config)
    if config.gamma or config.contrast or config.brightness:
        image = _curve(curve, image, config)
    if config.shading:
        nodes = config.shading * jax.random.normal(shade, (_SHADES, _SHADES))
        image = image + jax.image.resize(nodes, image.shape, "cubic")
    if config.jpeg:
        image = compress(export, computed_once(image), config.jpeg)
    if config.noise:
        strength, draw = jax.random.split(grain)
        image = image + config.noise * jax.random.uniform(strength) * _noise(draw, image.shape)
    return jnp.clip(image, 0.0, 1.0)


def computed_once(image: jax.Array) -> jax.Array:
    """The image, kept from being computed again for each of the neighbours that a later change reads."""
    kept: jax.Array = jax.lax.optimization_barrier(image)  # type: ignore[no-untyped-call]
    return kept


def blurred(image: jax.Array) -> jax.Array:
    """A binomial blur of five pixels, the edge repeated outside."""
    for axis in (0, 1):
        length = image.shape[axis]
        padded = jnp.pad(image, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        parts = [jax.lax.slice_in_dim(padded, at, at + length, axis=axis) for at in range(5)]
        image = sum((share * part for share, part in zip(_BINOMIAL, parts, strict=True)), start=jnp.zeros_like(image))
    return image


def _refocus(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    drawn = jax.random.uniform(key, minval=-1.0)
    amount = jnp.where(drawn > 0, config.sharpness, config.blur) * drawn
    return jnp.clip(image + amount * (image - blurred(image)), 0.0, 1.0)


def _curve(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    extent = jnp.array([config.gamma, config.contrast, config.brightness])
    gamma, contrast, brightness = jax.random.uniform(key, (3,), minval=-1.0) * extent
    bent = jnp.maximum(image, _DARKEST) ** jnp.exp(gamma) if config.gamma else image
    toned: jax.Array = (bent - 0.5) * jnp.exp(contrast) + 0.5 + brightness
    return toned


def _noise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Nearly normal noise of unit deviation: the sum of four even bytes, half as dear as a true normal deviate."""
    bits = jax.random.bits(key, shape, jnp.uint32)
    total = sum((((bits >> shift) & 255).astype(jnp.float32) for shift in (0, 8, 16, 24)), start=jnp.zeros(shape))
    deviation = (4 * (256**2 - 1) / 12) ** 0.5
    noise: jax.Array = (total - 510.0) / deviation
    return noise
