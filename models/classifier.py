"""The classifier: a residual network over the lung field, with evidence that lies in the lungs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple, Self

import jax
import jax.numpy as jnp
from flax import nnx

from models.layers import ConvBlock, ResidualBlock, as_levels, folded, halved

_FOLD: Final = 4
_TONE_FLOOR: Final = 0.05


class Evidence(NamedTuple):
    """What the classifier says of a batch.

    Attributes:
        logits: `[n, findings]`, not calibrated.
        maps: `[n, findings, h, w]`, the evidence for each finding at each place; never negative.
        embeddings: `[n, d]`, the pooled features that the logits are read from.
    """

    logits: jax.Array
    maps: jax.Array
    embeddings: jax.Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Shape of the classifier.

    Attributes:
        findings: number of outputs.
        widths: channels of each stage; the first works at a quarter of the resolution of the input, each other at half
            of the one before.
        blocks: residual blocks in each stage.
        groups: groups of each normalisation; divides every width.
        context: how much a place outside the lungs counts, of 1 inside.
    """

    findings: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    groups: int
    context: float

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {**asdict(self), "widths": list(self.widths), "blocks": list(self.blocks)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild an architecture from `to_json`."""
        return cls(**{**document, "widths": tuple(document["widths"]), "blocks": tuple(document["blocks"])})

    @property
    def stride(self) -> int:
        """How many pixels of the input one cell of the maps stands for, along an edge."""
        return int(_FOLD * 2 ** (len(self.widths) - 1))


class Classifier(nnx.Module):
    """Crops `[n, size, size]`, uint8 or float in 0..1, and how much of each place is lung, to `Evidence`.

    Features are averaged with the weight of each place before a linear layer, so that each logit is a mean of evidence:
    the maps are class activation maps (Zhou et al., CVPR 2016), their positive part is returned.
    """

    def __init__(self, architecture: Architecture, *, rngs: nnx.Rngs) -> None:
        self.context = architecture.context
        channels, groups = architecture.widths[0], architecture.groups
        self.stem = ConvBlock(_FOLD**2, channels, groups, rngs=rngs)
        stages: list[nnx.List[ResidualBlock]] = []
        for width, count in zip(architecture.widths, architecture.blocks, strict=True):
            inputs = [channels, *[width] * (count - 1)]
            stages.append(nnx.List([ResidualBlock(each, width, groups, rngs=rngs) for each in inputs]))
            channels = width
        self.stages = nnx.List(stages)
        self.head = nnx.Linear(channels, architecture.findings, rngs=rngs)

    def __call__(self, images: jax.Array, lungs: jax.Array) -> Evidence:
        """Classify a batch.

        Args:
            images: `[n, size, size]`.
            lungs: `[n, k * size / stride, k * size / stride]` with a whole k, 0 to 1, how much of each place is lung.
        """
        features = self.stem(folded(standardised(as_levels(images)), _FOLD))
        for number, stage in enumerate(self.stages):
            features = halved(features) if number else features
            for block in stage:
                features = block(features)
        weights = cell_weights(lungs, features.shape[1], self.context)
        share = weights / jnp.maximum(weights.sum(axis=(1, 2), keepdims=True), 1e-6)
        embeddings = jnp.einsum("nhwc,nhw->nc", features, share)
        evidence = jnp.einsum("nhwc,cf->nfhw", features, self.head.kernel[...])
        return Evidence(self.head(embeddings), nnx.relu(evidence) * weights[:, None], embeddings)


def cell_weights(lungs: jax.Array, size: int, context: float) -> jax.Array:
    """How much each cell counts, `[n, size, size]`, of how much of each place is lung, `[n, k * size, k * size]`.

    Fully from two thirds of lung on.
    """
    cell = lungs.shape[1] // size
    share = lungs.reshape(len(lungs), size, cell, size, cell).mean(axis=(2, 4))
    return context + (1.0 - context) * jnp.clip(1.5 * share, 0.0, 1.0)


def standardised(levels: jax.Array) -> jax.Array:
    """`[n, h, w]` with mean 0 and deviation 1 each, so that exposure and processing tell less."""
    mean = levels.mean(axis=(1, 2), keepdims=True)
    deviation = levels.std(axis=(1, 2), keepdims=True)
    return (levels - mean) / (deviation + _TONE_FLOOR)
