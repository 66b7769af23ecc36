"""Fitting the network: AdamW under a cosine schedule, averaged weights, early stopping."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from flax import nnx
from numpy.typing import NDArray

from models.classifier import Classifier
from models.prediction import Prediction
from training.archive import Examples
from training.augment import Augmentation, augment
from training.config import FitConfig
from training.metrics import auroc

State = nnx.State[Any, Any]
_EVALUATION_BATCH = 64


class NonFiniteLossError(Exception):
    """The loss became infinite or not a number; lower the learning rate or look at the data."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """How one pass went; the validation figures are of the averaged weights."""

    number: int
    train_loss: float
    validation_loss: float
    validation_auroc: float


@dataclass(frozen=True, slots=True)
class _Trainer:
    """The compiled functions of one run and what they need that does not change."""

    graph: nnx.GraphDef[Classifier]
    optimiser: optax.GradientTransformation
    weights: jax.Array  # of the classes in the loss, [2, findings]
    augmentation: Augmentation
    ema: float

    def loss(self, state: State, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = nnx.merge(self.graph, state)(images).logits
        weights = labels * self.weights[1] + (1.0 - labels) * self.weights[0]
        return jnp.mean(weights * optax.sigmoid_binary_cross_entropy(logits, labels))

    def step(
        self, key: jax.Array, state: State, averaged: State, moments: Any, images: jax.Array, labels: jax.Array
    ) -> tuple[State, State, Any, jax.Array]:
        changed = augment(key, images, self.augmentation)
        loss, gradients = jax.value_and_grad(self.loss)(state, changed, labels)
        updates, moments = self.optimiser.update(gradients, moments, state)
        state = optax.apply_updates(state, updates)
        averaged = jax.tree.map(lambda old, new: self.ema * old + (1.0 - self.ema) * new, averaged, state)
        return state, averaged, moments, loss


def fit(
    model: Classifier,
    train: Examples,
    validation: Examples,
    config: FitConfig,
    augmentation: Augmentation,
    seed: int,
    on_step: Callable[[], Any] = lambda: None,
    on_epoch: Callable[[Epoch], Any] = lambda _: None,
) -> Classifier:
    """Fit `model` and return the averaged weights of the epoch with the least validation loss.

    Classes are weighted so that each finding's positives and negatives count the same. A last batch that is not full
    is left for the next epoch's shuffle.

    Raises:
        NonFiniteLossError: the loss is not a number any more.
    """
    if len(train) < config.batch:
        raise ValueError(f"{len(train)} training images do not fill a batch of {config.batch}")
    graph, state = nnx.split(model, nnx.Param)
    steps = len(train) // config.batch
    optimiser = _optimiser(config, steps)
    trainer = _Trainer(graph, optimiser, _class_weights(train.labels), augmentation, config.ema)
    step = jax.jit(trainer.step, donate_argnums=(1, 2, 3))
    averaged, moments = jax.tree.map(jnp.copy, state), optimiser.init(state)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    best, best_loss, best_epoch = averaged, math.inf, 0
    for number in range(1, config.epochs + 1):
        losses = []
        order = rng.permutation(len(train))
        for first in range(0, steps * config.batch, config.batch):
            rows = order[first : first + config.batch]
            key, draw = jax.random.split(key)
            state, averaged, moments, loss = step(
                draw, state, averaged, moments, train.pixels[rows], train.labels[rows]
            )
            losses.append(_finite(float(loss), number))
            on_step()
        epoch = _judge(nnx.merge(graph, averaged), trainer.weights, validation, number, float(np.mean(losses)))
        on_epoch(epoch)
        if epoch.validation_loss < best_loss:
            best, best_loss, best_epoch = jax.tree.map(jnp.copy, averaged), epoch.validation_loss, number
        elif number - best_epoch >= config.patience:
            break
    return nnx.merge(graph, best)


def predict(model: Classifier, pixels: NDArray[np.uint8]) -> Prediction:
    """Run the network on all of `[n, size, size]`; the last batch is padded and cut, no example is dropped."""
    graph, state = nnx.split(model)
    forward = jax.jit(lambda state, images: nnx.merge(graph, state)(images))
    parts = []
    for first in range(0, len(pixels), _EVALUATION_BATCH):
        part = pixels[first : first + _EVALUATION_BATCH]
        padded = np.pad(part, ((0, _EVALUATION_BATCH - len(part)), (0, 0), (0, 0)))
        parts.append([np.asarray(field)[: len(part)] for field in forward(state, padded)])
    return Prediction(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _judge(model: Classifier, weights: jax.Array, validation: Examples, number: int, train_loss: float) -> Epoch:
    logits = np.asarray(predict(model, validation.pixels).logits)
    labels = validation.labels
    losses = np.logaddexp(0.0, logits) - labels * logits
    weighted = losses * np.where(labels > 0.5, weights[1], weights[0])
    areas = [auroc(logits[:, column], labels[:, column]) for column in range(labels.shape[1])]
    return Epoch(number, train_loss, _finite(float(weighted.mean()), number), float(np.mean(areas)))


def _finite(loss: float, epoch: int) -> float:
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"the loss is {loss} in epoch {epoch}")
    return loss


def _class_weights(labels: NDArray[np.float32]) -> jax.Array:
    positive = np.clip(labels.mean(axis=0), 1e-3, 1.0 - 1e-3)
    return jnp.asarray(np.stack([0.5 / (1.0 - positive), 0.5 / positive]), jnp.float32)


def _optimiser(config: FitConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    warmup_steps = max(1, round(config.warmup_epochs * steps_per_epoch))
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=config.learning_rate / 100,
        peak_value=config.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=max(config.epochs * steps_per_epoch, warmup_steps + 1),
    )
    decay = optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels)
    return optax.chain(optax.clip_by_global_norm(1.0), decay)


def _kernels(state: Mapping[str, Any]) -> Any:
    """Where weight decay applies: convolutions and linear layers, not scales and biases."""
    return jax.tree.map(lambda value: value.ndim > 1, state)
