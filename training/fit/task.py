"""What a fit has to know of a network and of what it is asked: a task turns batches into losses and figures."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from training.fit.columns import Columns

Batch = dict[str, jax.Array]
"""The columns of some examples, `[n, ...]` each."""
M = TypeVar("M", bound=nnx.Module)
M_contra = TypeVar("M_contra", bound=nnx.Module, contravariant=True)


class Losses(NamedTuple):
    """The loss of each example and how much it counts, `[n]` each; the loss of a batch is the weighted mean."""

    values: jax.Array
    weights: jax.Array


class Task(Protocol[M_contra]):
    """The seam between the loop and a network.

    All but `figures` is traced and compiled. A task is a frozen value whose `repr` says all that decides its losses:
    a run that was begun with another is not gone on with. Equal tasks have equal losses: what is compiled for one
    serves the other.
    """

    def __hash__(self) -> int:
        """As frozen dataclasses have it."""
        ...

    def draw(self, key: jax.Array, batch: Batch) -> Batch:
        """Make a batch what a training step sees: augmented."""
        ...

    def settle(self, batch: Batch) -> Batch:
        """Make a batch what evaluation sees: the same without chance."""
        ...

    def forward(self, model: M_contra, inputs: Batch) -> Any:
        """Run the network on what `draw` or `settle` made; a tree of arrays `[n, ...]` comes back."""
        ...

    def losses(self, outputs: Any, inputs: Batch) -> Losses:
        """Hold outputs against what was asked; both in float32."""
        ...

    def summary(self, outputs: Any, inputs: Batch) -> Batch:
        """Say what figures are made from, little for each example."""
        ...

    def figures(self, summary: Mapping[str, NDArray[Any]], columns: Columns) -> dict[str, float]:
        """Figures of a whole set by name, from the summaries of all its examples in order."""
        ...


def as_figures(values: Mapping[str, float | np.floating[Any]]) -> dict[str, float]:
    """Plain numbers, as they are written."""
    return {name: float(value) for name, value in values.items()}
