"""The network that reads a chest radiograph: it finds the lungs, looks at them alone, and says where it saw what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from models.classifier import Architecture, Classifier
from models.layers import as_levels
from models.lung_field import crop, lung_boxes, place, with_whole
from models.lungs import LungArchitecture, LungNet

MAP_STRIDE = 8
"""How many pixels of the model's square one cell of the explanation maps stands for, along an edge."""


class Outputs(NamedTuple):
    """What the network says of a batch.

    Attributes:
        logits: `[n, findings]`, not calibrated.
        maps: `[n, findings, size / MAP_STRIDE, size / MAP_STRIDE]`, the evidence for each finding at each place; never
            negative.
        embeddings: `[n, d]`, the pooled features that the logits are read from.
        lungs: `[n, size / 2, size / 2]`, 0 to 1, how likely each place is lung.
    """

    logits: jax.Array
    maps: jax.Array
    embeddings: jax.Array
    lungs: jax.Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderArchitecture:
    """Shape of the network.

    Attributes:
        lungs: of the U-Net.
        classifier: of what reads the lung field.
        field: edge of the lung field as the classifier sees it, in pixels.
    """

    lungs: LungArchitecture
    classifier: Architecture
    field: int

    def __post_init__(self) -> None:
        if self.field % self.classifier.stride:
            raise ValueError(f"a field of {self.field} pixels is no multiple of {self.classifier.stride}")

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {"lungs": self.lungs.to_json(), "classifier": self.classifier.to_json(), "field": self.field}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild an architecture from `to_json`."""
        return cls(
            lungs=LungArchitecture.from_json(document["lungs"]),
            classifier=Architecture.from_json(document["classifier"]),
            field=document["field"],
        )


class Reader(nnx.Module):
    """Grey level images `[n, size, size]`, uint8 or float in 0..1, to `Outputs`."""

    def __init__(self, architecture: ReaderArchitecture, *, rngs: nnx.Rngs) -> None:
        self.lungs = LungNet(architecture.lungs, rngs=rngs)
        self.classifier = Classifier(architecture.classifier, rngs=rngs)
        self.field = architecture.field

    def __call__(self, images: jax.Array) -> Outputs:
        """Read a batch; see the class."""
        levels = as_levels(images)
        lungs = jax.nn.sigmoid(self.lungs(levels))
        views = with_whole(lung_boxes(lungs))
        twice_levels, twice_lungs = jnp.concatenate([levels, levels]), jnp.concatenate([lungs, lungs])
        evidence = self.classifier(crop(twice_levels, views, self.field), crop(twice_lungs, views, self.field // 2))
        maps = place(evidence.maps, views, levels.shape[1] // MAP_STRIDE)
        logits, maps, embeddings = (
            values.reshape(2, -1, *values.shape[1:]).mean(axis=0)
            for values in (evidence.logits, maps, evidence.embeddings)
        )
        return Outputs(logits, maps, embeddings, lungs)


def export_weights(model: nnx.Module) -> dict[str, NDArray[np.float32]]:
    """All parameters by their path in the network, such as `classifier.stages.0.0.conv1.kernel`."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(value[...], np.float32) for path, value in flat}


def restore(architecture: ReaderArchitecture, weights: Mapping[str, NDArray[Any]]) -> Reader:
    """Build the network and put `weights` into it.

    Raises:
        ValueError: a parameter is missing, left over or of another shape.
    """
    model = nnx.eval_shape(lambda: Reader(architecture, rngs=nnx.Rngs(0)))
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
