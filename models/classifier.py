"""The network: a compact residual convolutional classifier with one sigmoid output per finding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray


class Outputs(NamedTuple):
    """What the network says of a batch.

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
    """Shape of the network.

    Attributes:
        findings: number of outputs.
        stem: channels after the first convolution, which halves the resolution.
        widths: channels of each stage; each stage halves the resolution again.
        blocks: residual blocks in each stage.
        groups: groups of each normalisation; divides every width.
    """

    findings: int
    stem: int
    widths: tuple[int, ...]
    blocks: int
    groups: int

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild an architecture from `to_json`."""
        return cls(**{**document, "widths": tuple(document["widths"])})


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions with group normalisation, added to their input (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = _convolution(inputs, outputs, 3, stride, rngs)
        self.norm1 = nnx.GroupNorm(outputs, num_groups=groups, rngs=rngs)
        self.conv2 = _convolution(outputs, outputs, 3, 1, rngs)
        self.norm2 = nnx.GroupNorm(outputs, num_groups=groups, rngs=rngs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = _convolution(inputs, outputs, 1, stride, rngs) if changes else None

    def __call__(self, features: jax.Array) -> jax.Array:
        """Map features `[n, h, w, inputs]` to `[n, h / stride, w / stride, outputs]`."""
        residual = nnx.relu(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        kept = features if self.shortcut is None else self.shortcut(features)
        return nnx.relu(kept + residual)


class Classifier(nnx.Module):
    """Grey level images `[n, size, size]`, uint8 or float in 0..1, to `Outputs`.

    The maps are class activation maps (Zhou et al., CVPR 2016): global average pooling before a linear layer makes
    each logit the mean of a map, whose positive part is returned.
    """

    def __init__(self, architecture: Architecture, *, rngs: nnx.Rngs) -> None:
        self.stem = _convolution(1, architecture.stem, 3, 2, rngs)
        self.stem_norm = nnx.GroupNorm(architecture.stem, num_groups=architecture.groups, rngs=rngs)
        blocks: list[ResidualBlock] = []
        channels = architecture.stem
        for width in architecture.widths:
            for index in range(architecture.blocks):
                stride = 2 if index == 0 else 1
                blocks.append(ResidualBlock(channels, width, stride, architecture.groups, rngs=rngs))
                channels = width
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(channels, architecture.findings, rngs=rngs)

    def __call__(self, images: jax.Array) -> Outputs:
        """Classify a batch; see the class."""
        levels = images.astype(jnp.float32) / 255.0 if images.dtype == jnp.uint8 else images
        features = (levels[..., None] - 0.5) * 4.0
        features = nnx.relu(self.stem_norm(self.stem(features)))
        for block in self.blocks:
            features = block(features)
        embeddings = features.mean(axis=(1, 2))
        evidence = jnp.einsum("nhwc,cf->nfhw", features, self.head.kernel[...])
        return Outputs(self.head(embeddings), nnx.relu(evidence), embeddings)


def _convolution(inputs: int, outputs: int, size: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, (size, size), strides=stride, padding="SAME", use_bias=False, rngs=rngs)


def export_weights(model: Classifier) -> dict[str, NDArray[np.float32]]:
    """All parameters by their path in the network, such as `blocks.0.conv1.kernel`."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(value[...], np.float32) for path, value in flat}


def restore(architecture: Architecture, weights: Mapping[str, NDArray[Any]]) -> Classifier:
    """Build the network and put `weights` into it.

    Raises:
        ValueError: a parameter is missing, left over or of another shape.
    """
    model = nnx.eval_shape(lambda: Classifier(architecture, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model, nnx.Param)
    flat = dict(nnx.to_flat_state(state))
    names = {path: ".".join(map(str, path)) for path in flat}
    if set(names.values()) != set(weights):
        odd = sorted(set(names.values()) ^ set(weights))
        raise ValueError(f"weights do not fit the architecture: {odd[0]} and {len(odd) - 1} more differ")
    for path, name in names.items():
        if weights[name].shape != flat[path].shape:
            raise ValueError(f"{name} is {weights[name].shape}, the architecture has {flat[path].shape}")
        flat[path] = flat[path].replace(jnp.asarray(weights[name], jnp.float32))
    return nnx.merge(graph, nnx.from_flat_state(flat))
