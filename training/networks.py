"""The two networks of a reader, fitted in turn: the lungs first, then what reads the field that they give."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from rich.console import Console

from models.bundle import Bundle, load_bundle
from models.classifier import Classifier
from models.lung_field import lung_boxes
from models.lungs import LungArchitecture, LungNet
from models.reader import Reader, ReaderArchitecture, restore
from training.config import ConfigError, TrainingConfig
from training.examples import Examples
from training.fit import Columns, Fitted, Job
from training.fit.classify import ClassifierTask, class_weights
from training.fit.columns import in_order
from training.fit.feed import feed
from training.fit.segment import LungTask
from training.parallel import Layout
from training.run import Look, fit_part
from training.run_folder import RunFolder
from training.split import Split

_BATCH = 64


def fit_lungs(
    config: TrainingConfig, data: Mapping[Split, Columns], run: RunFolder, console: Console
) -> Fitted[LungNet]:
    """Fit the U-Net to the masks of the training patients."""
    model = LungNet(config.lungs.architecture, rngs=nnx.Rngs(config.seed))
    job = Job(
        task=LungTask(augmentation=config.lungs.augmentation),
        train=data[Split.TRAIN],
        validation=data[Split.VALIDATION],
        config=config.lungs.fit,
        seed=config.seed,
    )
    look = Look(augmentation=config.lungs.augmentation, size=config.spec.size, masks="masks")
    return fit_part("lungs", model, job, run, look, console)


def lungs_of(bundle: str, config: TrainingConfig) -> LungNet:
    """The U-Net of a bundle, where none is to be fitted.

    Raises:
        BundleError: there is no such bundle.
        ConfigError: it reads other pixels, or is of another shape than the configuration says.
    """
    loaded = load_bundle(bundle)
    wanted = config.lungs.architecture
    if loaded.spec != config.spec or LungArchitecture.from_json(loaded.architecture["lungs"]) != wanted:
        raise ConfigError(f"the lungs of {loaded.id} are of another spec or shape than those of {config.name}")
    return _restored(loaded).lungs


def fit_classifier(
    config: TrainingConfig, lungs: LungNet, data: Mapping[Split, Examples], run: RunFolder, console: Console
) -> Fitted[Classifier]:
    """Fit the classifier to the lung fields of the training patients."""
    model = Classifier(config.classifier.architecture, rngs=nnx.Rngs(config.seed))
    train = data[Split.TRAIN]
    task = ClassifierTask(
        findings=tuple(finding.name for finding in config.findings),
        field=config.classifier.field,
        augmentation=config.classifier.augmentation,
        class_weights=class_weights(train.labels),
        opening=config.classifier.opening,
        smoothing=config.classifier.smoothing,
    )
    job = Job(
        task=task,
        train=fields(lungs, train),
        validation=fields(lungs, data[Split.VALIDATION]),
        config=config.classifier.fit,
        seed=config.seed,
    )
    look = Look(
        augmentation=config.classifier.augmentation,
        size=config.classifier.field,
        masks="lungs",
        boxes="boxes",
        captions=_captions(task.findings, train.labels),
    )
    return fit_part("classifier", model, job, run, look, console)


def joined(architecture: ReaderArchitecture, lungs: LungNet, classifier: Classifier) -> Reader:
    """Both networks as one."""
    reader = nnx.eval_shape(lambda: Reader(architecture, rngs=nnx.Rngs(0)))
    reader.lungs, reader.classifier = lungs, classifier
    return reader


def fields(lungs: LungNet, examples: Examples) -> Columns:
    """The columns of `ClassifierTask`: where the lungs of each example are, as they are found when it is served."""
    found, boxes = find_lungs(lungs, examples.pixels)
    return Columns({"images": examples.pixels, "lungs": found, "boxes": boxes, "labels": examples.labels})


def find_lungs(
    lungs: LungNet, pixels: NDArray[np.uint8], layout: Layout | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """How likely each place of `[n, size, size]` is lung, `[n, size / 2, size / 2]`, 255 for certain, and the boxes."""
    layout = layout or Layout.over()
    graph, state = nnx.split(lungs)
    state = layout.replicate(jax.tree.map(np.asarray, state))

    def forward(state: nnx.State[object, object], images: jax.Array) -> tuple[jax.Array, jax.Array]:
        likely = jax.nn.sigmoid(nnx.merge(graph, state)(images))
        return likely, lung_boxes(likely)

    compiled = jax.jit(forward, out_shardings=layout.replicated)
    plan = in_order(len(pixels), layout.fits(_BATCH))
    masks, boxes = [], []
    for batch in feed(Columns({"images": pixels}), plan, layout):
        likely, box = jax.device_get(compiled(state, batch["images"]))
        masks.append(np.rint(likely * 255.0).astype(np.uint8))
        boxes.append(box)
    return np.concatenate(masks)[: len(pixels)], np.concatenate(boxes)[: len(pixels)]


def _restored(bundle: Bundle) -> Reader:
    return restore(ReaderArchitecture.from_json(bundle.architecture), bundle.weights)


def _captions(findings: Sequence[str], labels: NDArray[np.float32]) -> tuple[str, ...]:
    """What each example is labelled with, the last finding that it has."""
    return tuple(
        next((name for name, label in zip(reversed(findings), reversed(row), strict=True) if label > 0.5), "normal")
        for row in labels.tolist()
    )
