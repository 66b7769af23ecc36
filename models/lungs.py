"""The lungs: a U-Net that finds them (Ronneberger et al., MICCAI 2015), at half the resolution of its input."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, Self

import jax
import jax.numpy as jnp
from flax import nnx

from models.layers import ConvBlock, as_levels, doubled, folded, halved, unfolded

_FOLD: Final = 4
_UNFOLD: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LungArchitecture:
    """Shape of the U-Net.

    Attributes:
        widths: channels of each level; the first works at a quarter of the resolution of the input, each other at half
            of the one before.
        groups: groups of each normalisation; divides every width.
    """

    widths: tuple[int, ...]
    groups: int

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild an architecture from `to_json`."""
        return cls(**{**document, "widths": tuple(document["widths"])})

    @property
    def divisor(self) -> int:
        """What the edge of an input must be a multiple of."""
        return int(2 ** (1 + len(self.widths)))


class LungNet(nnx.Module):
    """Grey level images `[n, size, size]`, uint8 or float in 0..1, to logits of lung `[n, size / 2, size / 2]`.

    The size is a multiple of the architecture's divisor.
    """

    def __init__(self, architecture: LungArchitecture, *, rngs: nnx.Rngs) -> None:
        groups, widths = architecture.groups, architecture.widths
        self.down = nnx.List([_pair(a, b, groups, rngs) for a, b in pairwise((_FOLD**2, *widths))])
        self.up = nnx.List([_pair(a + b, b, groups, rngs) for a, b in pairwise(reversed(widths))])
        self.head = nnx.Conv(widths[0], _UNFOLD**2, (1, 1), rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Find the lungs of a batch; see the class."""
        features = (folded(as_levels(images), _FOLD) - 0.5) * 4.0
        passed: list[jax.Array] = []
        for pair in self.down:
            features = _through(pair, halved(features) if passed else features)
            passed.append(features)
        for pair, beside in zip(self.up, reversed(passed[:-1]), strict=True):
            features = _through(pair, jnp.concatenate([doubled(features), beside], axis=-1))
        return unfolded(self.head(features), _UNFOLD)


def _pair(inputs: int, outputs: int, groups: int, rngs: nnx.Rngs) -> nnx.List[ConvBlock]:
    return nnx.List([ConvBlock(inputs, outputs, groups, rngs=rngs), ConvBlock(outputs, outputs, groups, rngs=rngs)])


def _through(blocks: Sequence[ConvBlock], features: jax.Array) -> jax.Array:
    for block in blocks:
        features = block(features)
    return features
