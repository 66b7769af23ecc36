"""A model bundle: a folder with all that is needed to use a model and to say where it came from.

`bundle.json` holds the values, `weights.safetensors` the arrays, `card.md` what a person should know before trusting
the model. Nothing in it is executed when it is loaded.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from models.scope import Scope
from models.spec import PreprocessSpec

BUNDLE_FILE: Final = "bundle.json"
WEIGHTS_FILE: Final = "weights.safetensors"
CARD_FILE: Final = "card.md"
DEFAULT_BUNDLE: Final = "chest-pneumonia"
_SHIPPED: Final = Path(__file__).with_name("bundles")
_FORMAT: Final = 2

Arrays = Mapping[str, NDArray[Any]]


class BundleError(Exception):
    """A bundle that is missing, damaged or of a format unknown here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityBands:
    """How much of the lungs has to be marked for which severity.

    Attributes:
        map_level: value of the explanation map from which a cell counts as marked.
        moderate_from: share of the lungs from which a present finding is moderate; below it is mild.
        severe_from: share of the lungs from which it is severe.
    """

    map_level: float
    moderate_from: float
    severe_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSpec:
    """One finding that a model reports, and how its logit becomes a decision.

    Attributes:
        code: SNOMED CT concept id.
        name: plain name, in lower case.
        temperature: divisor of the logit.
        bias: added to the logit after that; sigmoid(logit / temperature + bias) is the calibrated probability.
        thresholds: calibrated probability from which the finding is present, by name of operating point.
        indeterminate_margin: distance from the threshold, in log odds, within which no decision is made.
        severity: bands of the marked area.
        parent: code of the finding that this one is a kind of; None if there is none.
    """

    code: str
    name: str
    temperature: float
    bias: float
    thresholds: Mapping[str, float]
    indeterminate_margin: float
    severity: SeverityBands
    parent: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A model ready for use; see the module's docstring.

    Attributes:
        name: of the model.
        version: of the model; name and version together are unique.
        architecture: what `models.reader.ReaderArchitecture` is built from.
        findings: in the order of the model's outputs.
        operating_point: the one of each finding's thresholds that applies.
        spec: how pixels must be made; pixels made by another spec are not for this model.
        scope: what the model may be asked about.
        lineage: data, split, seed and code that made it.
        metrics: figures by split, then by name.
        weights: parameters by their path in the network.
    """

    name: str
    version: str
    architecture: Mapping[str, Any]
    findings: tuple[FindingSpec, ...]
    operating_point: str
    spec: PreprocessSpec
    scope: Scope
    lineage: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float]]
    weights: Arrays

    def __post_init__(self) -> None:
        self.check_operating_point(self.operating_point)

    def check_operating_point(self, name: str | None) -> str:
        """The operating point of this name, the bundle's own choice if None.

        Raises:
            BundleError: a finding has no such operating point; the message names those that there are.
        """
        chosen = self.operating_point if name is None else name
        for finding in self.findings:
            if chosen not in finding.thresholds:
                known = ", ".join(sorted(finding.thresholds))
                raise BundleError(f"{finding.name} has no operating point {chosen!r}, only {known}")
        return chosen

    @property
    def id(self) -> str:
        """Name and version, for example `chest-pneumonia@1`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 in hex of the canonical document, which holds the hash of the weights in turn."""
        return _sha256(json.dumps(self._document, sort_keys=True, separators=(",", ":")).encode())

    @cached_property
    def _packed(self) -> bytes:
        arrays = {f"weights.{key}": value for key, value in self.weights.items()}
        arrays |= {"scope.mean": self.scope.mean, "scope.whitening": self.scope.whitening}
        return safetensors.save({key: np.ascontiguousarray(value) for key, value in arrays.items()})

    @cached_property
    def _document(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "name": self.name,
            "version": self.version,
            "architecture": dict(self.architecture),
            "findings": [asdict(finding) for finding in self.findings],
            "operating_point": self.operating_point,
            "preprocess": {**self.spec.to_json(), "sha256": self.spec.sha256},
            "scope": {
                "modalities": list(self.scope.modalities),
                "body_parts": list(self.scope.body_parts),
                "min_std": self.scope.min_std,
                "min_lungs": self.scope.min_lungs,
                "max_distance": self.scope.max_distance,
            },
            "weights_sha256": _sha256(self._packed),
            "lineage": dict(self.lineage),
            "metrics": {split: dict(figures) for split, figures in self.metrics.items()},
        }


def save_bundle(bundle: Bundle, folder: Path, card: str) -> None:
    """Write `bundle` with its card into `folder`, which is made when absent."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(bundle._packed)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    # Last, since a folder without it is no bundle: an interrupted save cannot be mistaken for a whole one.
    (folder / BUNDLE_FILE).write_text(json.dumps(bundle._document, indent=2) + "\n", encoding="utf-8")


def load_bundle(path_or_name: str | Path) -> Bundle:
    """Load a bundle and check its hashes.

    Args:
        path_or_name: a folder, `default`, or NAME or NAME@VERSION of a bundle that comes with the package.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    folder, version = _locate(path_or_name)
    document = _read_document(folder)
    if version is not None and document.get("version") != version:
        raise BundleError(f"{folder.name} is here as version {document.get('version')}, not {version}")
    arrays = _read_arrays(folder, document)
    try:
        return _build(document, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / BUNDLE_FILE} is incomplete or inconsistent: {error!r}") from error


def _locate(path_or_name: str | Path) -> tuple[Path, str | None]:
    folder = Path(path_or_name)
    if folder.is_dir():
        return folder, None
    name, _, version = str(path_or_name).partition("@")
    shipped = _SHIPPED / (DEFAULT_BUNDLE if name == "default" else name)
    if name and shipped.parent == _SHIPPED and (shipped / BUNDLE_FILE).is_file():
        return shipped, version or None
    known = sorted(path.parent.name for path in _SHIPPED.glob(f"*/{BUNDLE_FILE}"))
    raise BundleError(
        f"no bundle {str(path_or_name)!r}: give a folder with {BUNDLE_FILE}, 'default', or one of {known}"
    )


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{folder} holds no readable {BUNDLE_FILE}: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{folder / BUNDLE_FILE} is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise BundleError(f"{folder / BUNDLE_FILE} is not of bundle format {_FORMAT}")
    return document


def _read_arrays(folder: Path, document: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    path = folder / WEIGHTS_FILE
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{folder} holds no readable {WEIGHTS_FILE}: {error.strerror}") from error
    if _sha256(packed) != document.get("weights_sha256"):
        raise BundleError(f"{path} is not the file that {BUNDLE_FILE} was written for (SHA-256 differs)")
    try:
        return safetensors.load(packed)
    except SafetensorError as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from error


def _build(document: Mapping[str, Any], arrays: Arrays) -> Bundle:
    preprocess = dict(document["preprocess"])
    spec_sha256 = preprocess.pop("sha256")
    spec = PreprocessSpec.from_json(preprocess)
    if spec.sha256 != spec_sha256:
        raise ValueError("the preprocess spec does not match its SHA-256")
    scope = document["scope"]
    return Bundle(
        name=document["name"],
        version=document["version"],
        architecture=document["architecture"],
        findings=tuple(
            FindingSpec(**{**finding, "severity": SeverityBands(**finding["severity"])})
            for finding in document["findings"]
        ),
        operating_point=document["operating_point"],
        spec=spec,
        scope=Scope(
            modalities=tuple(scope["modalities"]),
            body_parts=tuple(scope["body_parts"]),
            min_std=scope["min_std"],
            min_lungs=scope["min_lungs"],
            max_distance=scope["max_distance"],
            mean=arrays["scope.mean"],
            whitening=arrays["scope.whitening"],
        ),
        lineage=document["lineage"],
        metrics=document["metrics"],
        weights={key.removeprefix("weights."): value for key, value in arrays.items() if key.startswith("weights.")},
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
