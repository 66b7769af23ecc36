"""A fit that takes a second: the suite tries the loop, not the network. Run as a module, it is a process to kill."""

import argparse
import json
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from training.config import FitConfig
from training.fit import Batch, Columns, Epoch, Fitted, Job, Losses, Observer, fit
from training.fit.history import History
from training.parallel import Hosts, Layout, join
from training.run_folder import RunFolder

CONFIG = FitConfig(epochs=4, batch=16, learning_rate=0.1, ema=0.5, warmup_epochs=0.5, patience=100)


class Line(nnx.Module):
    """A linear layer."""

    def __init__(self, seed: int = 0) -> None:
        self.layer = nnx.Linear(8, 1, rngs=nnx.Rngs(seed))

    def __call__(self, values: jax.Array) -> jax.Array:
        return self.layer(values)[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTask:
    """Which side of a plane points lie on."""

    noise: float = 0.3

    def draw(self, key: jax.Array, batch: Batch) -> Batch:
        values = batch["values"] + self.noise * jax.random.normal(key, batch["values"].shape)
        return {"values": values, "labels": batch["labels"]}

    def settle(self, batch: Batch) -> Batch:
        return batch

    def forward(self, model: Line, inputs: Batch) -> jax.Array:
        return model(inputs["values"])

    def losses(self, outputs: jax.Array, inputs: Batch) -> Losses:
        assert outputs.dtype == jnp.float32
        return Losses(optax.sigmoid_binary_cross_entropy(outputs, inputs["labels"]), jnp.ones(len(outputs)))

    def summary(self, outputs: jax.Array, inputs: Batch) -> Batch:
        return {"logits": outputs}

    def figures(self, summary: Mapping[str, NDArray[Any]], columns: Columns) -> dict[str, float]:
        right = (summary["logits"] > 0) == (columns.arrays["labels"] > 0.5)
        return {"examples": float(len(right)), "accuracy": float(right.mean())}


def points(count: int = 70, seed: int = 0) -> Columns:
    values = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return Columns({"values": values, "labels": (values.sum(axis=1) > 0).astype(np.float32)})


def job(config: FitConfig = CONFIG, train: Columns | None = None, seed: int = 0) -> Job[Line]:
    return Job(task=LineTask(), train=train or points(), validation=points(37, seed=1), config=config, seed=seed)


def weights(fitted: Fitted[Any]) -> NDArray[np.float32]:
    leaves = jax.tree.leaves(nnx.state(fitted.model, nnx.Param))
    return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])


class Recorder(Observer):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.steps: dict[int, float] = {}
        self.epochs: list[Epoch] = []
        self.begun_at = -1
        self.ends = 0

    def began(self, epochs: int, steps_per_epoch: int, batch: int, history: History, step: int) -> None:
        self.begun_at = step

    def stepped(self, step: int, loss: float) -> None:
        self.steps[step] = loss

    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        self.epochs.append(epoch)

    def ended(self, history: History) -> None:
        self.ends += 1


class Stop(Exception):
    pass


class StopsAt(Recorder):
    """Ends the fit at a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._at = step

    def stepped(self, step: int, loss: float) -> None:
        super().stepped(step, loss)
        if step == self._at:
            raise Stop


class _Speaker(Observer):
    """Says each loss; at one step it stands still until somebody kills it."""

    def __init__(self, hold_at: int) -> None:
        self._hold_at = hold_at

    def stepped(self, step: int, loss: float) -> None:
        sys.stdout.write(json.dumps({"step": step, "loss": loss}) + "\n")
        sys.stdout.flush()
        if step == self._hold_at:
            signal.pause()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--hold-at", type=int, default=-1)
    parser.add_argument("--hosts", nargs=3)
    given = parser.parse_args()
    if given.hosts:
        coordinator, count, index = given.hosts
        join(Hosts(coordinator=coordinator, count=int(count), index=int(index)))
    run = RunFolder(path=given.folder, resume=given.resume, checkpoint_seconds=0.0)
    fitted = fit(Line(), job(), run=run, observer=_Speaker(given.hold_at))
    outcome = {
        "devices": Layout.over().count,
        "weights": weights(fitted).tolist(),
        "epochs": len(fitted.history.epochs),
    }
    sys.stdout.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main()
