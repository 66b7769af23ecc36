"""Pose and framing: every change of place composed into one, so that a picture is resampled once.

A place is a pair of row and column, as shares of the picture's edge: its corners are (0, 0) and (1, 1). A view is what
training sees, a square that shows the picture's box `[4]` (top, left, bottom, right, as shares too).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from training.augment.extent import Augmentation

_NODES = 5
"""Of the elastic displacement, along each edge of the view."""


class Pose(NamedTuple):
    """The way from a view back to the box that it shows, in units of the box's edges, from its centre.

    Attributes:
        matrix: `[2, 2]`, scale, aspect, rotation, shear and flip.
        shift: `[2]`.
        bend: `[2, k, k]`, displacements at nodes spread over the view, smooth between them; None for none.
    """

    matrix: jax.Array
    shift: jax.Array
    bend: jax.Array | None


def draw_pose(key: jax.Array, config: Augmentation) -> Pose:
    """Draw one pose."""
    affine, mirror, elastic = jax.random.split(key, 3)
    extent = [config.rotation, config.shear, config.scale, config.aspect, config.shift, config.shift]
    angle, shear, scale, aspect, down, right = jax.random.uniform(affine, (6,), minval=-1.0) * jnp.array(extent)
    sign = jnp.where(jax.random.bernoulli(mirror, config.flip), -1.0, 1.0)
    # From the view back to the picture, hence the inverse magnifications.
    magnify = jnp.diag(jnp.exp(jnp.stack([aspect / 2 - scale, -aspect / 2 - scale])))
    matrix = magnify @ _rotation(angle) @ _shear(shear) @ jnp.diag(jnp.stack([jnp.ones(()), sign]))
    bend = config.elastic * jax.random.normal(elastic, (2, _NODES, _NODES)) if config.elastic else None
    return Pose(matrix, jnp.stack([down, right]), bend)


def places(pose: Pose, box: jax.Array, size: int) -> jax.Array:
    """Where each pixel of a view lies in the picture, `[2, size, size]`.

    Poses do not depend on the size: a mask that is looked at more coarsely than its image follows it all the same.
    """
    steps = (jnp.arange(size) + 0.5) / size - 0.5
    view = jnp.stack(jnp.meshgrid(steps, steps, indexing="ij"))
    moved = jnp.tensordot(pose.matrix, view, axes=1, precision=jax.lax.Precision.HIGHEST) + pose.shift[:, None, None]
    if pose.bend is not None:
        moved = moved + jax.image.resize(pose.bend, view.shape, "cubic")
    start, end = box[:2, None, None], box[2:, None, None]
    return (start + end) / 2 + (end - start) * moved


def sample(picture: jax.Array, at: jax.Array) -> jax.Array:
    """Read a picture `[h, w]` between its pixels, bilinearly; black outside.

    Args:
        picture: uint8, or float in 0..1.
        at: places `[2, rows, columns]`.

    Returns:
        float32 `[rows, columns]`, 0 to 1.
    """
    height, width = picture.shape
    y, x = at[0] * height - 0.5, at[1] * width - 0.5
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = y - top, x - left
    rows, columns = top.astype(jnp.int32), left.astype(jnp.int32)
    upper = _pixels(picture, rows, columns) * (1 - right) + _pixels(picture, rows, columns + 1) * right
    lower = _pixels(picture, rows + 1, columns) * (1 - right) + _pixels(picture, rows + 1, columns + 1) * right
    return upper * (1 - down) + lower * down


def _pixels(picture: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    height, width = picture.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = jnp.clip(rows, 0, height - 1) * width + jnp.clip(columns, 0, width - 1)
    # Grey levels are made of the few pixels that are read, not of the whole picture.
    read = picture.reshape(-1).at[index].get(mode="promise_in_bounds")
    levels = read.astype(jnp.float32) / 255.0 if picture.dtype == jnp.uint8 else read.astype(jnp.float32)
    return jnp.where(inside, levels, 0.0)


def _rotation(degrees: jax.Array) -> jax.Array:
    angle = jnp.deg2rad(degrees)
    return jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])


def _shear(degrees: jax.Array) -> jax.Array:
    return jnp.array([[1.0, jnp.tan(jnp.deg2rad(degrees))], [0.0, 1.0]])
