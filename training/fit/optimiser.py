"""AdamW under a cosine schedule with warm-up, gradients clipped by their global norm."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax  # type: ignore[import-untyped]

from training.config import FitConfig

Schedule = Callable[[Any], Any]


def make_schedule(config: FitConfig, steps_per_epoch: int) -> Schedule:
    """The learning rate by step: a linear rise to the peak, then a cosine down to 0."""
    warmup = max(1, round(config.warmup_epochs * steps_per_epoch))
    schedule: Schedule = optax.warmup_cosine_decay_schedule(
        init_value=config.learning_rate / 100,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(config.epochs * steps_per_epoch, warmup + 1),
    )
    return schedule


def make_optimiser(config: FitConfig, schedule: Schedule) -> optax.GradientTransformation:
    """The optimiser of a configuration."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(schedule, weight_decay=config.weight_decay, mask=_kernels),
    )


def _kernels(state: Mapping[str, Any]) -> Any:
    """Where weight decay applies: convolutions and linear layers, not scales and biases."""
    return jax.tree.map(lambda value: value.ndim > 1, state)
