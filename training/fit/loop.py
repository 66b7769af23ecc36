"""The loop: steps, evaluation after each epoch, early stopping, checkpoints."""

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from flax import nnx

from training.checkpoints import Checkpoint, Checkpoints
from training.config import FitConfig
from training.errors import FitError, NonFiniteLossError
from training.fit.columns import Columns, in_order, shuffled
from training.fit.feed import feed
from training.fit.history import Epoch, History
from training.fit.observer import Observer
from training.fit.optimiser import make_schedule
from training.fit.program import Params, Program, TrainState
from training.fit.task import M, Task
from training.parallel import Layout, lost_hosts_told
from training.run_folder import RunFolder

Tree = TypeVar("Tree")
_LATE = 4
"""Steps after which a loss is fetched: a step is started before the one before it has ended."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Job(Generic[M]):
    """What is to be fitted to what.

    Attributes:
        task: the loss.
        train: set that steps see.
        validation: set that decides when to stop and which weights are kept.
        config: the optimisation.
        seed: of the order and of all that steps draw.
    """

    task: Task[M]
    train: Columns
    validation: Columns
    config: FitConfig
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in the training set."""
        return len(self.train) // self.config.batch

    def identity(self, params: Params) -> dict[str, str]:
        """What decides the outcome, as hashes by name; of the network, its parameters' names, shapes and values."""
        settings = repr((self.task, self.config, self.seed)).encode()
        weights = hashlib.sha256()
        for path, value in jax.tree_util.tree_flatten_with_path(params)[0]:
            weights.update(f"{jax.tree_util.keystr(path)} {value.shape}\n".encode())
            weights.update(np.ascontiguousarray(value).data)
        return {
            "configuration": hashlib.sha256(settings).hexdigest(),
            "training set": self.train.sha256(),
            "validation set": self.validation.sha256(),
            "network": weights.hexdigest(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Fitted(Generic[M]):
    """The outcome: the network with the averaged weights of the best epoch, and how it came about."""

    model: M
    history: History


def fit(
    model: M,
    job: Job[M],
    *,
    run: RunFolder | None = None,
    layout: Layout | None = None,
    observer: Observer | None = None,
) -> Fitted[M]:
    """Fit a network and give back the averaged weights of the epoch with the least validation loss.

    With a run folder, a process that is killed loses what came after its last checkpoint and no more: the same call
    with `resume` goes on from there and comes to the same result, and a run that is finished is not repeated.

    Args:
        model: the network as it begins; it is not changed.
        job: what to fit it to.
        run: where checkpoints and the record are kept; None keeps none.
        layout: devices to split batches over; all there are by default.
        observer: is told how it goes.

    Raises:
        NonFiniteLossError: the loss is not a number any more.
        CheckpointError: the run folder holds another run, or one that may not be gone on with.
        ParallelError: another host is gone.
        FitError: the training set does not fill a batch, a batch cannot be split over the devices, or there is no
            validation set.
    """
    with lost_hosts_told():
        return _fit(model, job, run, layout or Layout.over(), observer or Observer())


def _fit(model: M, job: Job[M], run: RunFolder | None, layout: Layout, observer: Observer) -> Fitted[M]:
    _check(job, layout)
    graph, params = nnx.split(model, nnx.Param)
    host_params = jax.tree.map(np.asarray, params)
    program = _program(job.task, graph, job.config, job.seed, job.steps_per_epoch, layout)
    if run is None:
        return _Loop(job, program, layout, observer, _forget).run(graph, _fresh(program, host_params))
    with Checkpoints(run.checkpoints, job.identity(host_params), run.keep) as checkpoints:
        begun = _fresh(program, host_params)
        found = checkpoints.latest(begun.tree(), run.resume)
        begun = begun if found is None else _Progress.from_checkpoint(found)
        return _Loop(job, program, layout, observer, checkpoints.save, run.checkpoint_seconds).run(graph, begun)


def _check(job: Job[Any], layout: Layout) -> None:
    batch = job.config.batch
    if not job.steps_per_epoch:
        raise FitError(f"{len(job.train)} training images do not fill a batch of {batch}")
    if not len(job.validation):
        raise FitError("there are no validation images: nothing would say which weights to keep")
    if batch % layout.count:
        raise FitError(f"a batch of {batch} cannot be split over {layout.count} devices: choose a multiple")


@lru_cache(maxsize=1)
def _program(
    task: Task[M], graph: nnx.GraphDef[M], config: FitConfig, seed: int, steps_per_epoch: int, layout: Layout
) -> Program[M]:
    """The compiled part, kept for the next fit: where that differs in its data alone, nothing is compiled again."""
    return Program(task, graph, config, make_schedule(config, steps_per_epoch), seed, steps_per_epoch, layout)


@dataclass(frozen=True, slots=True, eq=False)
class _Progress:
    """How far a fit has got; host arrays."""

    state: TrainState
    best: Params
    history: History

    def tree(self) -> dict[str, Any]:
        return {"state": self.state, "best": self.best}

    def to_checkpoint(self) -> Checkpoint:
        return Checkpoint(int(self.state.step), self.tree(), {"history": self.history.to_json()})

    @classmethod
    def from_checkpoint(cls, found: Checkpoint) -> "_Progress":
        return cls(found.tree["state"], found.tree["best"], History.from_json(found.document["history"]))


def _fresh(program: Program[Any], params: Params) -> _Progress:
    state: TrainState = jax.tree.map(np.asarray, program.start(params))
    return _Progress(state, params, History())


def _forget(checkpoint: Checkpoint) -> None:
    """No run folder, no checkpoints."""


class _Loop(Generic[M]):
    """One call of `fit`, from where it begins to the end."""

    def __init__(
        self,
        job: Job[M],
        program: Program[M],
        layout: Layout,
        observer: Observer,
        save: Callable[[Checkpoint], None],
        checkpoint_seconds: float = math.inf,
    ) -> None:
        self._job, self._program, self._layout, self._observer = job, program, layout, observer
        self._save, self._checkpoint_seconds = save, checkpoint_seconds
        self._schedule = make_schedule(job.config, job.steps_per_epoch)
        self._saved_at = time.monotonic()

    def run(self, graph: nnx.GraphDef[M], begun: _Progress) -> Fitted[M]:
        config = self._job.config
        state: TrainState = self._layout.replicate(begun.state)
        best, history = begun.best, begun.history
        self._observer.began(config.epochs, self._job.steps_per_epoch, config.batch, history, int(begun.state.step))
        while not history.finished(config.epochs, config.patience):
            started = time.monotonic()
            state, speed = self._steps(state, best, history)
            epoch = self._epoch(state, len(history.epochs) + 1, speed, started)
            history = history.with_epoch(epoch)
            best = _on_host(state.averaged) if history.improved else best
            self._checkpoint(state, best, history)
            self._observer.epoch_ended(epoch, history)
        self._observer.ended(history)
        return Fitted(nnx.merge(graph, best), history)

    def _steps(self, state: TrainState, best: Params, history: History) -> tuple[TrainState, float]:
        """Make the steps that are left of an epoch; images a second come back beside the state."""
        job, number = self._job, len(history.epochs) + 1
        first = (number - 1) * job.steps_per_epoch
        done = int(jax.device_get(state.step)) - first
        plan = shuffled(len(job.train), job.config.batch, job.seed, number)[done:]
        started, late = time.monotonic(), deque[tuple[int, jax.Array]]()
        with jax.transfer_guard("disallow"):
            for step, batch in enumerate(feed(job.train, plan, self._layout), first + done + 1):
                state, loss = self._program.train(state, batch)
                late.append((step, loss))
                self._tell(late, _LATE, number)
                if step < first + job.steps_per_epoch and self._is_due():
                    self._tell(late, 0, number)
                    self._checkpoint(state, best, history)
            self._tell(late, 0, number)
        return state, len(plan) * job.config.batch / max(time.monotonic() - started, 1e-9)

    def _tell(self, late: deque[tuple[int, jax.Array]], left: int, epoch: int) -> None:
        """Fetch losses until so many are left.

        Raises:
            NonFiniteLossError: one is infinite or not a number.
        """
        while len(late) > left:
            step, waiting = late.popleft()
            loss = float(jax.device_get(waiting))
            _finite(loss, f"step {step}, epoch {epoch}")
            self._observer.stepped(step, loss)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._checkpoint_seconds

    def _checkpoint(self, state: TrainState, best: Params, history: History) -> None:
        self._save(_Progress(_on_host(state), best, history).to_checkpoint())
        self._saved_at = time.monotonic()

    def _epoch(self, state: TrainState, number: int, speed: float, started: float) -> Epoch:
        loss, figures = self._evaluate(state.averaged)
        steps = self._job.steps_per_epoch
        return Epoch(
            number=number,
            step=number * steps,
            train_loss=float(jax.device_get(state.total)) / steps,
            validation_loss=_finite(loss, f"validation, epoch {number}"),
            figures=figures,
            learning_rate=float(self._schedule(number * steps - 1)),
            images_per_second=speed,
            seconds=time.monotonic() - started,
        )

    def _evaluate(self, params: Params) -> tuple[float, Mapping[str, float]]:
        """Loss and figures over the whole validation set; what fills its last batch up does not count."""
        job = self._job
        plan = in_order(len(job.validation), self._layout.fits(job.config.batch))
        started: deque[Any] = deque()
        judged = []
        with jax.transfer_guard("disallow"):
            for batch in feed(job.validation, plan, self._layout):
                started.append(self._program.judge(params, batch))
                if len(started) > _LATE:
                    judged.append(jax.device_get(started.popleft()))
            judged += [jax.device_get(each) for each in started]
        total, weight = (math.fsum(float(each[field]) for each in judged) for field in (0, 1))
        names = judged[0].summary
        summary = {name: np.concatenate([each.summary[name] for each in judged]) for name in names}
        whole = {name: values[: len(job.validation)] for name, values in summary.items()}
        return total / max(weight, 1.0), job.task.figures(whole, job.validation)


def _on_host(tree: Tree) -> Tree:
    """Copies in memory of their own: on a CPU what is fetched may be the very memory that the next step takes."""
    copies: Tree = jax.tree.map(np.array, jax.device_get(tree))
    return copies


def _finite(loss: float, where: str) -> float:
    if not math.isfinite(loss):
        raise NonFiniteLossError(
            f"the loss is {loss} ({where}): lower the learning rate, or look for labels that are not 0 to 1"
        )
    return loss
