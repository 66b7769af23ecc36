"""The compiled part of a fit: one training step, and one look at a batch of evaluation."""

from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]
from flax import nnx

from training.config import FitConfig, Precision
from training.fit.columns import REAL
from training.fit.optimiser import Schedule, make_optimiser
from training.fit.task import Batch, M, Task
from training.parallel import Layout

Params = nnx.State[Any, Any]


class TrainState(NamedTuple):
    """All that a step changes; float32, replicated over the devices.

    Attributes:
        params: of the network.
        averaged: their exponential moving average, which is what is kept in the end.
        moments: of the optimiser.
        step: steps made, a scalar; the randomness of the next one is drawn from the seed and it.
        total: sum of the losses of the epoch so far, a scalar.
    """

    params: Params
    averaged: Params
    moments: Any
    step: jax.Array
    total: jax.Array


class Judgement(NamedTuple):
    """What evaluation says of a batch: weighted sum of losses, sum of weights, and the task's summary."""

    total: jax.Array
    weight: jax.Array
    summary: Batch


class Program(Generic[M]):
    """The two functions of a fit, compiled for a layout of devices.

    Batches are split over the devices and all else is the same on each: the compiler adds the exchange of gradients.
    Results do not depend on how many devices there are, but for rounding.
    """

    def __init__(
        self,
        task: Task[M],
        graph: nnx.GraphDef[M],
        config: FitConfig,
        schedule: Schedule,
        seed: int,
        steps_per_epoch: int,
        layout: Layout,
    ) -> None:
        self._task, self._graph = task, graph
        self._ema, self._seed, self._steps = config.ema, seed, steps_per_epoch
        self._optimiser = make_optimiser(config, schedule)
        self._compute = compute_type(config.precision)
        same = layout.replicated
        self.train = jax.jit(self._train, donate_argnums=0, out_shardings=same)
        self.judge = jax.jit(self._judge, out_shardings=same)

    def start(self, params: Params) -> TrainState:
        """The state before the first step; arrays of its own, since steps give their memory away."""
        averaged = jax.tree.map(jnp.copy, params)
        own = jax.tree.map(jnp.copy, params)
        return TrainState(own, averaged, self._optimiser.init(own), jnp.zeros((), jnp.int32), jnp.zeros(()))

    def _train(self, state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        key = jax.random.fold_in(jax.random.key(self._seed), state.step)
        inputs = self._task.draw(key, batch)
        loss, gradients = jax.value_and_grad(self._loss)(state.params, inputs, batch[REAL])
        updates, moments = self._optimiser.update(gradients, state.moments, state.params)
        params = optax.apply_updates(state.params, updates)
        averaged = jax.tree.map(lambda old, new: self._ema * old + (1.0 - self._ema) * new, state.averaged, params)
        begins = state.step % self._steps == 0
        total = jnp.where(begins, 0.0, state.total) + loss
        return TrainState(params, averaged, moments, state.step + 1, total), loss

    def _judge(self, params: Params, batch: Batch) -> Judgement:
        inputs = self._task.settle(batch)
        outputs = self._outputs(params, inputs)
        values, weights = self._task.losses(outputs, inputs)
        weights = weights * batch[REAL]
        return Judgement(jnp.sum(values * weights), weights.sum(), self._task.summary(outputs, inputs))

    def _loss(self, params: Params, inputs: Batch, real: jax.Array) -> jax.Array:
        values, weights = self._task.losses(self._outputs(params, inputs), inputs)
        weights = weights * real
        return jnp.sum(values * weights) / jnp.maximum(weights.sum(), 1.0)

    def _outputs(self, params: Params, inputs: Batch) -> Any:
        """Run the network in the type of computation; parameters stay float32 and outputs are float32 again."""
        model = nnx.merge(self._graph, _cast(params, self._compute))
        return _cast(self._task.forward(model, _cast(inputs, self._compute)), jnp.float32)


def compute_type(precision: Precision) -> Any:
    """What the network computes in: bfloat16 where an accelerator likes it, float32 on CPUs, or as told."""
    if precision is Precision.AUTO:
        return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    return jnp.bfloat16 if precision is Precision.BFLOAT16 else jnp.float32


def _cast(tree: Any, kind: Any) -> Any:
    return jax.tree.map(lambda x: x.astype(kind) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)
