"""What a training run is told: a frozen value that a configuration file returns from `get_config`."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.spec import PreprocessSpec
from training.archive import Split

if TYPE_CHECKING:
    from training.augment import Augmentation


class ConfigError(Exception):
    """A configuration file that gives no training configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingConfig:
    """A finding to learn: its SNOMED CT concept id, and its name as the archive's labels spell it."""

    code: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """The optimisation.

    Attributes:
        epochs: most passes over the training images.
        batch: images in a step.
        learning_rate: peak of the cosine schedule.
        warmup_epochs: linear rise to the peak.
        weight_decay: of AdamW, on kernels only.
        ema: decay per step of the averaged weights, which are the ones kept.
        patience: epochs without a lower validation loss before stopping.
    """

    epochs: int
    batch: int = 64
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.02
    ema: float = 0.99
    patience: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Everything that decides which bundle comes out.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        findings: to learn, in the order of the outputs.
        spec: how pixels are made.
        stem: channels after the first convolution.
        widths: channels of each stage.
        blocks: residual blocks in each stage.
        groups: groups of each normalisation.
        log_aspect: range of the natural log of width over height given back to squeezed pictures.
        augmentation: random changes while training.
        fit: the optimisation.
        shares: of the images, by split.
        seed: of the split, the weights, the order and the augmentation.
        operating_point: the default one.
        indeterminate_margin: in log odds, around the threshold.
        modalities: that the model reads.
        body_parts: that the model reads.
        min_std: least standard deviation of a model input that is no blank.
        scope_percentile: of the validation distances; an image further away is out of scope.
        scope_shrinkage: of the covariance behind the distance.
        min_accuracy: on validation data, for every finding; below it no bundle is written.
        data: what the archive is and under which licence, for the card.
        limits: what the model must not be trusted with, for the card.
    """

    name: str
    version: str
    findings: tuple[FindingConfig, ...]
    spec: PreprocessSpec
    stem: int
    widths: tuple[int, ...]
    blocks: int
    groups: int
    log_aspect: tuple[float, float]
    augmentation: "Augmentation"
    fit: FitConfig
    shares: Mapping[Split, float] = field(
        default_factory=lambda: {Split.TRAIN: 0.7, Split.VALIDATION: 0.15, Split.TEST: 0.15}
    )
    seed: int = 0
    operating_point: str = "accuracy"
    indeterminate_margin: float = 0.3
    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "LUNG")
    min_std: float = 8.0
    scope_percentile: float = 99.5
    scope_shrinkage: float = 0.1
    min_accuracy: float = 0.9
    data: str
    limits: str


def load_config(path: Path) -> TrainingConfig:
    """Run a configuration file and take what its `get_config()` returns.

    Raises:
        ConfigError: the file is missing, or returns something else.
    """
    specification = importlib.util.spec_from_file_location("training_config", path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise ConfigError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    make: Any = getattr(module, "get_config", None)
    config = make() if callable(make) else None
    if not isinstance(config, TrainingConfig):
        raise ConfigError(f"{path} must define get_config() that returns a TrainingConfig")
    return config
