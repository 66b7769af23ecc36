"""What gives the label away: a small network for each probe of each view, and what it reaches on patients held back."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from rich.console import Console

from models.classifier import Architecture, Classifier
from models.lungs import LungNet
from training.augment import Augmentation
from training.bootstrap import Interval, intervals
from training.config import FitConfig
from training.fit import Batch, Columns, Epoch, Job, Observer, fit
from training.fit.classify import ClassifierTask, class_weights
from training.fit.columns import in_order
from training.fit.feed import feed
from training.fit.history import History
from training.metrics import Scored, figures, single
from training.parallel import Layout
from training.probe_data import Part, ProbeData, views, whole_boxes
from training.probes import PROBES, Pictures, Probe
from training.progress import counted

CHANCE: Final = 0.5
"""What AUROC and balanced accuracy are where nothing is told."""
_EDGE: Final = 96
"""Of the pictures that networks see, in pixels; less where model inputs are smaller."""
_BATCH: Final = 32
_SHAPE: Final = Architecture(findings=1, widths=(16, 32, 48), blocks=(1, 1, 1), groups=8, context=1.0)
_AUGMENTATION: Final = Augmentation(flip=0.5)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judged:
    """What scores are worth on validation patients.

    Attributes:
        auroc: area under the ROC curve.
        interval: of it, 95%, by bootstrap over patients.
        balanced_accuracy: mean of sensitivity and specificity at a probability of one half.
    """

    auroc: float
    interval: Interval
    balanced_accuracy: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reached:
    """What one network reached.

    Attributes:
        view: what pictures were of, see `training.probe_data.views`.
        probe: what was left of them, such as one of `PROBES`.
        judged: its figures.
        seconds: that it took.
        shown: what the network saw of a picture without the finding and of one with it, uint8 `[2, edge, edge]`.
    """

    view: str
    probe: str
    judged: Judged
    seconds: float
    shown: Pictures

    def to_json(self) -> dict[str, Any]:
        """All but the pictures, as JSON values."""
        return {
            "view": self.view,
            "probe": self.probe,
            "auroc": self.judged.auroc,
            "auroc_interval": list(self.judged.interval),
            "balanced_accuracy": self.judged.balanced_accuracy,
            "seconds": round(self.seconds, 1),
        }


def measure(
    data: ProbeData,
    net: LungNet,
    console: Console,
    *,
    epochs: int,
    seed: int,
    probes: Mapping[str, Probe] = PROBES,
) -> Iterator[Reached]:
    """Fit a network for each probe of each view, all from the same weights, and say what it reaches.

    Validation patients say which epoch is kept as well, so that figures lie a little high where they are few.

    Args:
        data: the examples.
        net: finds the lungs, which decide on the lung field and on what is hidden.
        console: where progress goes.
        epochs: of each fit.
        seed: of weights, order, flips and resamples.
        probes: to fit networks for, by name.

    Yields:
        One at a time, view by view, in the order of the probes.

    Raises:
        FitError: the training images do not fill a batch.
        NonFiniteLossError: a fit came to nothing.
    """
    edge = edge_of(data.train.pixels.shape[1])
    console.print("finding the lungs")
    train, validation = (views(part, net, edge) for part in (data.train, data.validation))
    for view in train:
        for probe, left in probes.items():
            began = time.monotonic()
            seen, held_back = left(*train[view]), left(*validation[view])
            with counted(console, f"{view}, {probe}", epochs) as advance:
                job = _job(data, seen, held_back, epochs, seed)
                judged = judge(_fitted_scores(job, advance), data.validation, seed)
            shown = held_back[_one_of_each(data.validation.labels)]
            took = time.monotonic() - began
            console.print(f"{view}, {probe}: AUROC {judged.auroc:.4f}, {took:.0f} s")
            yield Reached(view=view, probe=probe, judged=judged, seconds=took, shown=shown)


def judge(scores: NDArray[np.floating], part: Part, seed: int) -> Judged:
    """Hold probabilities `[n]` of the finding against the labels of `part`, which has both kinds."""
    scored = Scored.of(scores, part.labels, scores >= 0.5)
    values = single(figures(scored))
    interval = intervals(scored, part.patients, seed)["auroc"]
    assert interval is not None  # noqa: S101
    balanced = (values["recall"] + values["specificity"]) / 2
    return Judged(auroc=values["auroc"], interval=interval, balanced_accuracy=balanced)


def edge_of(size: int) -> int:
    """Edge of the pictures that networks see of model inputs of a size, a multiple of what the network halves to."""
    return max(_SHAPE.stride, min(_EDGE, size // _SHAPE.stride * _SHAPE.stride))


def _job(data: ProbeData, seen: Pictures, held_back: Pictures, epochs: int, seed: int) -> Job[Classifier]:
    train, validation = _columns(seen, data.train), _columns(held_back, data.validation)
    task = ClassifierTask(
        findings=(data.finding,),
        field=seen.shape[1],
        augmentation=_AUGMENTATION,
        class_weights=class_weights(train.arrays["labels"]),
        opening=0.0,
    )
    # The average follows closely: there are few steps, and the last of them are small.
    config = FitConfig(epochs=epochs, batch=_BATCH, warmup_epochs=0.5, ema=0.95, patience=epochs)
    return Job(task=task, train=train, validation=validation, config=config, seed=seed)


def _columns(pictures: Pictures, part: Part) -> Columns:
    """The columns of `ClassifierTask`; pictures are views already, and no place in them counts more than another."""
    count = len(pictures)
    return Columns(
        {
            "images": pictures,
            "lungs": np.zeros((count, 1, 1), np.uint8),
            "boxes": whole_boxes(count),
            "labels": part.labels[:, None].astype(np.float32),
        }
    )


def _fitted_scores(job: Job[Classifier], advance: Callable[[], None]) -> NDArray[np.float64]:
    """Fit a network and give its probabilities for the validation set, `[n]`."""
    layout = Layout.over()
    model = fit(Classifier(_SHAPE, rngs=nnx.Rngs(job.seed)), job, layout=layout, observer=_Advance(advance)).model
    graph, state = nnx.split(model)
    state = layout.replicate(jax.tree.map(np.asarray, state))
    plan = in_order(len(job.validation), layout.fits(_BATCH))
    batches = feed(job.validation, plan, layout)
    parts = [jax.device_get(_probabilities(job.task, graph, state, batch)) for batch in batches]
    return np.concatenate(parts)[: len(job.validation)].astype(np.float64)


@partial(jax.jit, static_argnames=("task", "graph"))
def _probabilities(
    task: ClassifierTask, graph: nnx.GraphDef[Classifier], state: nnx.State[object, object], batch: Batch
) -> jax.Array:
    return jax.nn.sigmoid(task.forward(nnx.merge(graph, state), task.settle(batch))[:, 0])


def _one_of_each(labels: NDArray[np.bool_]) -> list[int]:
    """The first row without the finding and the first with it."""
    return [int(labels.argmin()), int(labels.argmax())]


class _Advance(Observer):
    """Counts epochs."""

    def __init__(self, advance: Callable[[], None]) -> None:
        self._advance = advance

    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        """See `Observer`."""
        self._advance()
