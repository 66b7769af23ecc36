"""What a training run is told: a frozen value that a configuration file returns from `get_config`."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.classifier import Architecture
from models.lungs import LungArchitecture
from models.reader import ReaderArchitecture
from models.spec import PreprocessSpec
from training.split import Split

if TYPE_CHECKING:
    from training.augment import Augmentation


class ConfigError(Exception):
    """A configuration file that gives no training configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingConfig:
    """A finding to learn: its SNOMED CT concept id, and its name as the archive's labels spell it."""

    code: str
    name: str


class Precision(StrEnum):
    """What a network computes in; its parameters are float32 always."""

    AUTO = "auto"  # bfloat16 on accelerators, float32 on CPUs
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


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
        clip_norm: greatest global norm of the gradients.
        precision: what the network computes in.
    """

    epochs: int
    batch: int = 64
    learning_rate: float = 2e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.02
    ema: float = 0.99
    patience: int = 4
    clip_norm: float = 1.0
    precision: Precision = Precision.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class LungsConfig:
    """The U-Net, and how it learns.

    Attributes:
        architecture: its shape.
        augmentation: random changes while training.
        fit: the optimisation.
    """

    architecture: LungArchitecture
    augmentation: "Augmentation"
    fit: FitConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """The classifier of the lung field, and how it learns.

    Attributes:
        architecture: its shape.
        field: edge of the lung field in pixels.
        augmentation: random changes while training.
        fit: the optimisation.
        opening: chance that a training view opens from the lung field towards the whole picture.
        smoothing: how far labels are drawn towards one half.
    """

    architecture: Architecture
    field: int
    augmentation: "Augmentation"
    fit: FitConfig
    opening: float = 0.5
    smoothing: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Everything that decides which bundle comes out.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        findings: to learn, in the order of the outputs.
        spec: how pixels are made.
        lungs: the first of the two networks.
        classifier: the second.
        shares: of the images, by split.
        seed: of the split, the weights, the order and the augmentation.
        operating_point: the default one.
        prevalence: of each finding where the model is to be used: what the operating point of most right decisions
            supposes. None for that of the validation images, of which a finding is more common than in any clinic.
        indeterminate_margin: in log odds, around the threshold.
        modalities: that the model reads.
        body_parts: that the model reads.
        min_std: least standard deviation of a model input that is no blank.
        scope_percentile: of the validation distances; an image further away is out of scope.
        scope_shrinkage: of the covariance behind the distance.
        min_accuracy: on validation data, for every finding that is no kind of another; below it no bundle is written.
        data: what the archive is and under which licence, for the card.
        limits: what the model must not be trusted with, for the card.
    """

    name: str
    version: str
    findings: tuple[FindingConfig, ...]
    spec: PreprocessSpec
    lungs: LungsConfig
    classifier: ClassifierConfig
    shares: Mapping[Split, float] = field(
        default_factory=lambda: {Split.TRAIN: 0.8, Split.VALIDATION: 0.1, Split.TEST: 0.1}
    )
    seed: int = 0
    operating_point: str = "accuracy"
    prevalence: float | None = None
    indeterminate_margin: float = 0.3
    modalities: tuple[str, ...] = ("CR", "DX")
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "LUNG")
    min_std: float = 8.0
    scope_percentile: float = 99.5
    scope_shrinkage: float = 0.1
    min_accuracy: float = 0.9
    data: str
    limits: str

    @property
    def architecture(self) -> ReaderArchitecture:
        """Of both networks as one."""
        return ReaderArchitecture(
            lungs=self.lungs.architecture, classifier=self.classifier.architecture, field=self.classifier.field
        )


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
