"""The part of a picture that the lungs take up: its box, the way into it and the way back; pure JAX.

Boxes are `[n, 4]`: top, left, bottom and right as shares of the picture's edge. A classifier that sees the box alone,
at one size, learns nothing from where and how large the chest is in the picture, nor from what surrounds it.
"""

import jax
import jax.numpy as jnp

WHOLE = (0.0, 0.0, 1.0, 1.0)


def lung_boxes(lungs: jax.Array, tail: float = 0.01, margin: float = 0.08) -> jax.Array:
    """Boxes around the lungs in `[n, h, w]` maps of 0 to 1; the whole picture where there are none.

    Args:
        lungs: how much of each cell is lung.
        tail: share of the lung that may lie outside on each side, so that a stray cell moves nothing.
        margin: share of the box's height (width) that is added on each side.
    """
    top, bottom = _extent(lungs.sum(axis=2), tail, margin)
    left, right = _extent(lungs.sum(axis=1), tail, margin)
    boxes = jnp.stack([top, left, bottom, right], axis=1)
    found = lungs.mean(axis=(1, 2)) > 0.01
    return jnp.where(found[:, None], boxes, jnp.array(WHOLE))


def with_whole(boxes: jax.Array) -> jax.Array:
    """The boxes `[n, 4]` and after them the whole of each picture, `[2 * n, 4]`: the two views that a reading rests on.

    The field shows the lungs at one size and place, the whole what surrounds them; their mean is better than either.
    """
    return jnp.concatenate([boxes, jnp.broadcast_to(jnp.array(WHOLE), boxes.shape)])


def crop(pictures: jax.Array, boxes: jax.Array, size: int) -> jax.Array:
    """Resample the boxes of `[n, h, w]` pictures to `[n, size, size]`; black outside the picture.

    Bilinear, as the one resampling of augmentation is, so that serving and training see alike: with as many cells as
    the box has pixels, or nearly, there is little to alias.
    """
    down = jax.vmap(lambda box: _resampling(box[0], box[2], pictures.shape[1], size))(boxes)
    across = jax.vmap(lambda box: _resampling(box[1], box[3], pictures.shape[2], size))(boxes)
    return jnp.einsum("nih,nhw,njw->nij", down, pictures, across)


def place(maps: jax.Array, boxes: jax.Array, size: int) -> jax.Array:
    """Lay `[n, channels, h, w]` maps over the boxes back into the picture, `[n, channels, size, size]`; 0 elsewhere.

    Within half a cell of a box's edge the outermost cells go on: a map is as strong there as it was.
    """
    top, left, bottom, right = boxes.T
    height, width = bottom - top, right - left
    inverse = jnp.stack([-top / height, -left / width, (1 - top) / height, (1 - left) / width], axis=1)
    down = jax.vmap(lambda box: _laying(box[0], box[2], maps.shape[2], size))(inverse)
    across = jax.vmap(lambda box: _laying(box[1], box[3], maps.shape[3], size))(inverse)
    return jnp.einsum("nih,nchw,njw->ncij", down, maps, across)


def _extent(profile: jax.Array, tail: float, margin: float) -> tuple[jax.Array, jax.Array]:
    """Where the middle 1 - 2 * tail of `[n, k]` profiles begins and ends, with margins, as shares of k."""
    count = profile.shape[1]
    reached = jnp.cumsum(profile, axis=1) / jnp.maximum(profile.sum(axis=1, keepdims=True), 1e-6)
    start = (reached < tail).sum(axis=1) / count
    end = 1.0 - (reached > 1.0 - tail).sum(axis=1) / count + 1.0 / count
    more = margin * (end - start)
    return jnp.maximum(start - more, 0.0), jnp.minimum(end + more, 1.0)


def _laying(start: jax.Array, end: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """As `_resampling`, but the first and the last input reach to their ends, and beyond them is nothing."""
    centres = _centres(start, end, inputs, outputs)
    inside = (centres >= -0.5) & (centres <= inputs - 0.5)
    return inside[:, None] * _hats(jnp.clip(centres, 0.0, inputs - 1.0), inputs)


def _resampling(start: jax.Array, end: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """The weights `[outputs, inputs]` that resample the stretch from start to end, shares of the inputs' length."""
    return _hats(_centres(start, end, inputs, outputs), inputs)


def _centres(start: jax.Array, end: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """Where the centre of each output lies, in inputs, the centre of the first of which is 0."""
    return start * inputs + (jnp.arange(outputs) + 0.5) * (end - start) * inputs / outputs - 0.5


def _hats(centres: jax.Array, inputs: int) -> jax.Array:
    return jnp.maximum(0.0, 1.0 - jnp.abs(jnp.arange(inputs) - centres[:, None]))
