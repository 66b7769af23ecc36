"""The task of the classifier: findings in the lung field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.classifier import Classifier
from models.layers import as_levels
from models.lung_field import WHOLE, crop, with_whole
from training.augment import Augmentation, augment, mix
from training.fit.columns import Columns
from training.fit.task import Batch, Losses
from training.metrics import auroc

_OPENNESS = 0.3
"""Power that a share of 0 to 1 is drawn with: below 1, so that views near the whole picture are the most."""
_RAREST = 1e-3
"""A class is never weighted as if it were rarer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierTask:
    """Sigmoid per finding, over the lung field that boxes and masks say.

    Columns: `images` uint8 `[n, h, w]`; `lungs` uint8 `[n, h', w']`, how much of each place is lung, at any resolution;
    `boxes` float32 `[n, 4]` as `models.lung_field` has them; `labels` float32 `[n, findings]` of 0 and 1, nan where
    nobody knows.

    Attributes:
        findings: names, in the order of the labels.
        field: edge of the lung field in pixels.
        augmentation: of training images.
        class_weights: for each finding, of its negatives and of its positives.
        opening: chance that a training view opens from the lung field towards the whole picture.
        smoothing: how far labels are drawn towards one half (Szegedy et al., CVPR 2016): 0.1 makes 0.95 of 1.
    """

    findings: tuple[str, ...]
    field: int
    augmentation: Augmentation
    class_weights: tuple[tuple[float, float], ...]
    opening: float = 0.5
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if len(self.class_weights) != len(self.findings):
            raise ValueError(f"{len(self.findings)} findings need as many pairs of weights")
        if not 0.0 <= self.opening <= 1.0:
            raise ValueError(f"opening is a chance of 0 to 1, got {self.opening}")
        if not 0.0 <= self.smoothing < 1.0:
            raise ValueError(f"smoothing is a share of 0 to 1, got {self.smoothing}")

    def draw(self, key: jax.Array, batch: Batch) -> Batch:
        """Augment one view of each; see `Task`."""
        box_key, view_key, mix_key = jax.random.split(key, 3)
        views = augment(
            view_key,
            batch["images"],
            self.augmentation,
            masks=batch["lungs"],
            boxes=_opened(box_key, batch["boxes"], self.opening),
            size=self.field,
            mask_size=self._mask_size,
        )
        assert views.masks is not None  # noqa: S101
        drawn = {"images": views.images, "lungs": views.masks, "labels": batch["labels"]}
        mixed = mix(mix_key, drawn, self.augmentation.mixup)
        return {**mixed, "images": mixed["images"][:, None], "lungs": mixed["lungs"][:, None]}

    def settle(self, batch: Batch) -> Batch:
        """Crop both views as serving does; see `Task`."""
        images = self._views(batch["images"], batch["boxes"], self.field)
        lungs = self._views(batch["lungs"], batch["boxes"], self._mask_size)
        return {"images": images, "lungs": lungs, "labels": batch["labels"]}

    def forward(self, model: Classifier, inputs: Batch) -> jax.Array:
        """Logits, the mean over the views of each example; see `Task`."""
        count, views = inputs["images"].shape[:2]
        images, lungs = (inputs[name].reshape(count * views, *inputs[name].shape[2:]) for name in ("images", "lungs"))
        return model(images, lungs).logits.reshape(count, views, -1).mean(axis=1)

    def losses(self, outputs: jax.Array, inputs: Batch) -> Losses:
        """Weighted cross-entropy over the findings that are known; see `Task`."""
        known = ~jnp.isnan(inputs["labels"])
        labels = jnp.where(known, inputs["labels"], 0.5)
        target = labels * (1.0 - self.smoothing) + self.smoothing / 2
        weights = jnp.array(self.class_weights)
        entropy = optax.sigmoid_binary_cross_entropy(outputs, target)
        values = known * entropy * (target * weights[:, 1] + (1.0 - target) * weights[:, 0])
        count = known.sum(axis=1).astype(jnp.float32)
        return Losses(values.sum(axis=1) / jnp.maximum(count, 1.0), count)

    def summary(self, outputs: jax.Array, inputs: Batch) -> Batch:
        """Logits; see `Task`."""
        return {"logits": outputs}

    def figures(self, summary: Mapping[str, NDArray[Any]], columns: Columns) -> dict[str, float]:
        """AUROC, and accuracy at a probability of one half, of each finding; see `Task`."""
        figures = {}
        for column, name in enumerate(self.findings):
            logits, labels = summary["logits"][:, column], columns.arrays["labels"][:, column]
            known = ~np.isnan(labels)
            right = (logits > 0) == (labels > 0.5)
            figures[f"{name} AUROC"] = auroc(logits[known], labels[known])
            figures[f"{name} accuracy"] = float(right[known].mean()) if known.any() else float("nan")
        return figures

    @property
    def _mask_size(self) -> int:
        """Masks are looked at half as finely as images: a cell of the map is many pixels wide."""
        return self.field // 2

    def _views(self, pictures: jax.Array, boxes: jax.Array, size: int) -> jax.Array:
        """The lung field and the whole of `[n, h, w]` pictures, `[n, 2, size, size]`."""
        levels = as_levels(pictures)
        cropped = crop(jnp.concatenate([levels, levels]), with_whole(boxes), size)
        return jnp.stack(jnp.split(cropped, 2), axis=1)


def _opened(key: jax.Array, boxes: jax.Array, chance: float) -> jax.Array:
    """Boxes `[n, 4]`, each left as it is or opened some way towards the whole picture, all the way more often."""
    which, how_far = jax.random.split(key)
    open_ = jax.random.bernoulli(which, chance, (len(boxes), 1))
    share = open_ * jax.random.uniform(how_far, (len(boxes), 1)) ** _OPENNESS
    return boxes * (1.0 - share) + jnp.array(WHOLE) * share


def class_weights(labels: NDArray[np.float32]) -> tuple[tuple[float, float], ...]:
    """Weights by which each finding's known negatives and positives count the same; of labels `[n, findings]`."""
    known = ~np.isnan(labels)
    share = np.where(known, labels, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    positive = np.clip(share, _RAREST, 1.0 - _RAREST)
    return tuple((float(0.5 / (1.0 - each)), float(0.5 / each)) for each in positive)
