"""Images a second of the training loop, against the same step with its batches already in the device's memory.

    .venv/bin/python benchmarks/training_rate.py --json build/bench/training_rate.json

The loop is `training.fit.fit` as a training runs it: rows are read, sent to the device and augmented there, losses are
fetched, and its own figure leaves evaluation out. The task, the network and the optimisation are those of the shipped
classifier; pixels are random, which costs what real ones do. It runs unchanged on a GPU.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from measure import Comparison, Result, Turn, take_turns
from report import Options, run

from models.classifier import Classifier
from training.config import TrainingConfig, load_config
from training.fit import Columns, Job, fit
from training.fit.classify import ClassifierTask
from training.fit.columns import shuffled
from training.fit.feed import feed
from training.fit.optimiser import make_schedule
from training.fit.program import Program
from training.parallel import Layout

CONFIG = Path(__file__).resolve().parents[1] / "training" / "configs" / "chest_pneumonia.py"
STEPS = 12
GOAL, FLOOR = 0.9, 0.6


def measure(options: Options) -> Iterator[Result]:
    """One comparison."""
    config = load_config(CONFIG)
    model = Classifier(config.classifier.architecture, rngs=nnx.Rngs(config.seed))
    job = _job(config)
    sides = {"radiolog": lambda: _looped(model, job), "step alone": _bare(model, job)}
    device = jax.devices()[0].device_kind
    yield Comparison(f"training on {device}", "images/s", *sides, take_turns(sides, options.turns), GOAL, FLOOR)


def _job(config: TrainingConfig) -> Job[Classifier]:
    """One epoch of the shipped classifier's task."""
    findings = tuple(finding.name for finding in config.findings)
    task = ClassifierTask(
        findings=findings,
        field=config.classifier.field,
        augmentation=config.classifier.augmentation,
        class_weights=((1.0, 1.0),) * len(findings),
        opening=config.classifier.opening,
    )
    fitting = replace(config.classifier.fit, epochs=1, warmup_epochs=0.1)
    train = _columns(STEPS * fitting.batch, config.spec.size, len(findings))
    return Job(task=task, train=train, validation=_first(train, fitting.batch), config=fitting, seed=0)


def _columns(count: int, size: int, findings: int) -> Columns:
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (count, size, size), np.uint8),
        "lungs": rng.integers(0, 256, (count, size // 2, size // 2), np.uint8),
        "boxes": np.tile(np.float32([0.1, 0.1, 0.9, 0.9]), (count, 1)),
        "labels": rng.integers(0, 2, (count, findings)).astype(np.float32),
    }
    return Columns(arrays)


def _first(columns: Columns, count: int) -> Columns:
    return Columns({name: array[:count] for name, array in columns.arrays.items()})


def _looped(model: Classifier, job: Job[Classifier]) -> float:
    return fit(model, job).history.epochs[-1].images_per_second


def _bare(model: Classifier, job: Job[Classifier]) -> Turn:
    layout, steps, batch = Layout.over(), job.steps_per_epoch, job.config.batch
    graph, params = nnx.split(model, nnx.Param)
    schedule = make_schedule(job.config, steps)
    program = Program(job.task, graph, job.config, schedule, job.seed, steps, layout)
    fresh = jax.tree.map(np.asarray, program.start(jax.tree.map(np.asarray, params)))
    batches = list(feed(job.train, shuffled(len(job.train), batch, job.seed, 1), layout))

    def turn() -> float:
        state = jax.block_until_ready(layout.replicate(fresh))
        began = time.perf_counter()
        for each in batches:
            state, loss = program.train(state, each)
        jax.block_until_ready((state, loss))
        return len(batches) * batch / (time.perf_counter() - began)

    return turn


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
