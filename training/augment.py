"""Random changes of training images, on the device and under jit.

They stand for what differs between hospitals and not between findings: pose, framing, exposure, processing.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Greatest extent of each change; each is drawn evenly up to it in both directions, per image.

    Attributes:
        rotation: degrees.
        shift: share of the image's edge, each axis by itself.
        scale: natural log of the magnification.
        aspect: natural log of width over height.
        flip: chance of a left-right flip.
        contrast: natural log of the gain around mid-grey.
        brightness: offset, of a range of 1.
        gamma: natural log of the exponent.
        sharpness: share of the difference from a 3x3 mean that is added or taken away.
        noise: standard deviation of Gaussian noise, of a range of 1.
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    aspect: float = 0.0
    flip: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    gamma: float = 0.0
    sharpness: float = 0.0
    noise: float = 0.0


@partial(jax.jit, static_argnames="config")
def augment(key: jax.Array, images: jax.Array, config: Augmentation) -> jax.Array:
    """Change each of `[n, h, w]` images, uint8 or float in 0..1, by itself; float32 in 0..1 comes back."""
    levels = images.astype(jnp.float32) / 255.0 if images.dtype == jnp.uint8 else images
    keys = jax.random.split(key, len(images))
    augmented: jax.Array = jax.vmap(partial(_augment_one, config=config))(keys, levels)
    return augmented


def flip(image: jax.Array) -> jax.Array:
    """Mirror `[..., w]` left to right."""
    return image[..., ::-1]


def _augment_one(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    pose, tone, mirror, grain = jax.random.split(key, 4)
    image = jnp.where(jax.random.bernoulli(mirror, config.flip), flip(image), image)
    image = _tone(tone, _warp(pose, image, config), config)
    image = image + config.noise * jax.random.normal(grain, image.shape)
    return jnp.clip(image, 0.0, 1.0)


def _warp(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    """Rotate, scale, stretch and shift about the centre in one bilinear step, black outside."""
    extent = jnp.array([config.rotation, config.scale, config.aspect, config.shift, config.shift])
    angle, scale, aspect, down, right = jax.random.uniform(key, (5,), minval=-1.0) * extent
    radians = jnp.deg2rad(angle)
    rotation = jnp.array([[jnp.cos(radians), -jnp.sin(radians)], [jnp.sin(radians), jnp.cos(radians)]])
    # From the place in the result back to the place in the image, hence the inverse magnifications.
    back = jnp.diag(jnp.exp(jnp.array([-scale + aspect / 2, -scale - aspect / 2]))) @ rotation
    edges = jnp.array(image.shape)
    centre = (edges - 1.0)[:, None] / 2
    grid = jnp.stack(jnp.meshgrid(*map(jnp.arange, image.shape), indexing="ij")).reshape(2, -1)
    places = back @ (grid - centre) + centre - (jnp.stack([down, right]) * edges)[:, None]
    warped: jax.Array = map_coordinates(image, list(places), order=1)
    return warped.reshape(image.shape)


def _tone(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    extent = jnp.array([config.contrast, config.brightness, config.gamma, config.sharpness])
    contrast, brightness, gamma, sharpness = jax.random.uniform(key, (4,), minval=-1.0) * extent
    mean = jax.lax.reduce_window(image, 0.0, jax.lax.add, (3, 3), (1, 1), "SAME") / 9.0
    image = jnp.clip(image + sharpness * (image - mean), 0.0, 1.0)
    image = jnp.maximum(image, 1e-6) ** jnp.exp(gamma)
    toned: jax.Array = (image - 0.5) * jnp.exp(contrast) + 0.5 + brightness
    return toned
