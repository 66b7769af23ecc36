"""A model of pneumonia and its two kinds, scripted for figures that are known beforehand, or with a small network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from models.bundle import Bundle, FindingSpec, SeverityBands, save_bundle
from models.classifier import Architecture
from models.geometry import Geometry
from models.lungs import LungArchitecture
from models.prediction import Prediction
from models.reader import ReaderArchitecture, export_weights
from models.scope import Scope
from models.spec import PreprocessSpec
from tests.networks import random_reader
from training.evaluation.source import Case, Example, Problem, labels_of

SIZE = 32
THRESHOLDS = {"accuracy": 0.5, "sensitivity-95": 0.2}
ARCHITECTURE = ReaderArchitecture(
    lungs=LungArchitecture(widths=(4, 4), groups=1),
    classifier=Architecture(findings=3, widths=(4,), blocks=(1,), groups=1, context=0.1),
    field=16,
)
PNEUMONIA = "233604007"


def finding(name: str, code: str, parent: str | None) -> FindingSpec:
    return FindingSpec(
        code=code,
        name=name,
        temperature=1.0,
        bias=0.0,
        thresholds=THRESHOLDS,
        indeterminate_margin=0.1,
        severity=SeverityBands(map_level=0.5, moderate_from=0.25, severe_from=0.5),
        parent=parent,
    )


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return Bundle(
        name="lungs",
        version="7",
        architecture=ARCHITECTURE.to_json(),
        findings=(
            finding("pneumonia", PNEUMONIA, None),
            finding("bacterial pneumonia", "53084003", PNEUMONIA),
            finding("viral pneumonia", "75570004", PNEUMONIA),
        ),
        operating_point="accuracy",
        spec=PreprocessSpec(name="small", version=1, size=SIZE),
        scope=Scope(
            modalities=("CR", "DX"),
            body_parts=("CHEST",),
            min_std=1.0,
            min_lungs=0.0,
            max_distance=9.0,
            mean=np.zeros(4, np.float32),
            whitening=np.eye(4, dtype=np.float32),
        ),
        lineage={"data": "Made-up pictures", "limits": "Knows nothing of medicine."},
        metrics={"validation/pneumonia": {"images": 10.0, "accuracy": 0.9}},
        weights=export_weights(random_reader(ARCHITECTURE)),
    )


@pytest.fixture(scope="session")
def bundle_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "lungs"
    save_bundle(bundle, folder, "# A card")
    return folder


class Script:
    """A predictor that says what it is told, by the upper left pixel of an image."""

    largest_batch = 4

    def __init__(self, bundle: Bundle, lines: Sequence[Mapping[str, Any]]) -> None:
        self.bundle = bundle
        self.lines = lines
        self.batches: list[int] = []

    def predict(self, pixels: np.ndarray) -> Prediction:
        self.batches.append(len(pixels))
        said = [self.lines[image[0, 0]] for image in pixels]
        chances = np.clip([line["says"] for line in said], 1e-6, 1 - 1e-6)
        odds = np.log(chances / (1 - chances))
        distances = np.array([line.get("distance", 0.0) for line in said])
        maps = np.zeros((len(said), 3, 4, 4), np.float32)
        maps[:, :, 1, 1] = 1.0
        embeddings = np.repeat(distances[:, None], 4, axis=1)
        return Prediction(
            odds.astype(np.float32), maps, embeddings.astype(np.float32), np.ones((len(said), 8, 8), np.float32)
        )


class Listed:
    """A source in memory."""

    def __init__(self, items: Sequence[Example | Problem]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Example | Problem]:
        return iter(self.items)

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "list", "sha256": "0" * 64}

    def display(self, name: str) -> np.ndarray | None:
        return None

    def whereabouts(self, name: str) -> str:
        return f"place of {name}"


Play = Callable[[Sequence[Mapping[str, Any]]], tuple[Script, Listed]]


@pytest.fixture
def play(bundle: Bundle) -> Play:
    """A predictor and a source from lines such as `{"label": "normal", "says": (0.9, 0.1, 0.2)}`."""

    def make(lines: Sequence[Mapping[str, Any]]) -> tuple[Script, Listed]:
        return Script(bundle, lines), Listed([example(bundle, number, line) for number, line in enumerate(lines)])

    return make


def example(bundle: Bundle, number: int, line: Mapping[str, Any]) -> Example:
    pixels = np.random.default_rng(number).integers(0, 255, (SIZE, SIZE), np.uint8)
    pixels[0, 0] = number
    case = Case(
        name=line.get("name", f"image-{number}"),
        patient=line.get("patient"),
        label=line["label"],
        labels=labels_of(line["label"], bundle.findings),
        attributes=line.get("attributes", {}),
    )
    return Example(case=case, pixels=pixels, geometry=Geometry.whole(SIZE), modality=line.get("modality", "CR"))


MakeFolder = Callable[[Mapping[str, int]], Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A folder of noise pictures: how many of each name, such as `{"normal/a.png": 2}` for a0.png and a1.png."""

    def make(counts: Mapping[str, int]) -> Path:
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            for number in range(count):
                path = tmp_path / "images" / name
                path = path.with_stem(f"{path.stem}{number}")
                path.parent.mkdir(parents=True, exist_ok=True)
                encoded = cv2.imencode(path.suffix.lower(), rng.integers(0, 255, (40, 48), np.uint8))[1]
                path.write_bytes(encoded.tobytes())
        return tmp_path / "images"

    return make
