"""Views of pictures: each drawn by itself, with its mask beside it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from training.augment.cutout import cut_out
from training.augment.extent import Augmentation
from training.augment.geometry import draw_pose, places, sample
from training.augment.tone import computed_once, tone

WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The box that is the whole picture."""


class Views(NamedTuple):
    """What training sees of a batch.

    Attributes:
        images: float32 `[n, size, size]`, 0 to 1.
        masks: float32 `[n, mask_size, mask_size]`, 0 to 1, of the same places; None without masks.
    """

    images: jax.Array
    masks: jax.Array | None


@partial(jax.jit, static_argnames=("config", "size", "mask_size"))
def augment(
    key: jax.Array,
    images: jax.Array,
    config: Augmentation,
    *,
    masks: jax.Array | None = None,
    boxes: jax.Array | None = None,
    size: int | None = None,
    mask_size: int | None = None,
) -> Views:
    """Draw one view of each picture.

    Args:
        key: decides all; image i is drawn by the i-th key split from it, whatever the others are.
        images: `[n, h, w]`, uint8 or float in 0..1.
        config: how far changes go; mixup is a change of batches (`mix`) and not made here.
        masks: `[n, h', w']` of the same pictures at any resolution, uint8 or float in 0..1.
        boxes: `[n, 4]`, the part of each picture that a view without changes shows; the whole picture by default.
        size: edge of the views; the picture's own by default.
        mask_size: edge of the views' masks; the mask's own by default.
    """
    count, height, _ = images.shape
    boxes = jnp.broadcast_to(jnp.array(WHOLE), (count, 4)) if boxes is None else boxes
    own_size = 0 if masks is None else masks.shape[1]
    view = partial(_view, config=config, size=size or height, mask_size=mask_size or own_size)
    return Views(*jax.vmap(view)(jax.random.split(key, count), images, masks, boxes))


def _view(
    key: jax.Array,
    image: jax.Array,
    mask: jax.Array | None,
    box: jax.Array,
    config: Augmentation,
    size: int,
    mask_size: int,
) -> tuple[jax.Array, jax.Array | None]:
    pose_key, tone_key, hide_key = jax.random.split(key, 3)
    pose = draw_pose(pose_key, config)
    seen = tone(tone_key, computed_once(sample(image, places(pose, box, size))), config)
    if config.cutout:
        seen = cut_out(hide_key, seen, config.cutout)
    return seen, None if mask is None else sample(mask, places(pose, box, mask_size))
