"""The task of the U-Net: which places are lung."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.layers import as_levels
from models.lungs import LungNet
from training.augment import Augmentation, augment
from training.fit.columns import Columns
from training.fit.task import Batch, Losses, as_figures

_TOLERANCE = 1.0
"""Cells added to both sides of the Dice coefficient, so that an empty mask has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LungTask:
    """Cross-entropy and Dice loss (Milletari et al., 3DV 2016) over each image's lung mask.

    Columns: `images` uint8 `[n, size, size]` and `masks` uint8 `[n, size, size]`, 255 where there is lung.

    Attributes:
        augmentation: of training images; mixup is not made here.
    """

    augmentation: Augmentation

    def draw(self, key: jax.Array, batch: Batch) -> Batch:
        """Augment; see `Task`."""
        views = augment(key, batch["images"], self.augmentation, masks=batch["masks"])
        assert views.masks is not None  # noqa: S101
        return {"images": views.images, "masks": views.masks}

    def settle(self, batch: Batch) -> Batch:
        """Grey levels; see `Task`."""
        return {"images": as_levels(batch["images"]), "masks": as_levels(batch["masks"])}

    def forward(self, model: LungNet, inputs: Batch) -> jax.Array:
        """Run the U-Net: logits at half the resolution; see `Task`."""
        return model(inputs["images"])

    def losses(self, outputs: jax.Array, inputs: Batch) -> Losses:
        """Cross-entropy plus one minus Dice; see `Task`."""
        count, height, width = outputs.shape
        target = inputs["masks"].reshape(count, height, 2, width, 2).mean(axis=(2, 4))
        entropy = optax.sigmoid_binary_cross_entropy(outputs, target).mean(axis=(1, 2))
        return Losses(entropy + 1.0 - dice(jax.nn.sigmoid(outputs), target, _TOLERANCE), jnp.ones(count))

    def summary(self, outputs: jax.Array, inputs: Batch) -> Batch:
        """Dice of each image at its full resolution; see `Task`."""
        masks = inputs["masks"]
        likely = jax.image.resize(jax.nn.sigmoid(outputs), masks.shape, "linear") > 0.5
        return {"dice": dice(likely.astype(jnp.float32), (masks > 0.5).astype(jnp.float32), 1e-6)}

    def figures(self, summary: Mapping[str, NDArray[Any]], columns: Columns) -> dict[str, float]:
        """Mean Dice, and the one that 5% of images stay below; see `Task`."""
        values = summary["dice"]
        return as_figures({"Dice": values.mean(), "Dice at 5%": np.quantile(values, 0.05)})


def dice(ours: jax.Array, theirs: jax.Array, tolerance: float) -> jax.Array:
    """The Dice coefficient of each pair of masks `[n, h, w]`, 0 to 1 each; `[n]`."""
    both = (ours * theirs).sum(axis=(1, 2))
    return (2.0 * both + tolerance) / (ours.sum(axis=(1, 2)) + theirs.sum(axis=(1, 2)) + tolerance)
