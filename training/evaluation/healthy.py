"""Images without any finding, kept while they stream by, and what a model says once opacities are painted into them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.decision import Reading, interpret
from schemas.events import Decision
from training.evaluation.findings import Document, Plan
from training.evaluation.judge import Predictor
from training.evaluation.source import NORMAL, Example
from training.explanations import grow, point

MOST: Final = 64
"""How many are kept."""


@dataclass(slots=True)
class Healthy:
    """Some of the normal images in scope: those whose names come first, so that the same images give the same ones."""

    most: int = MOST
    _kept: dict[str, tuple[NDArray[np.uint8], NDArray[np.float32]]] = field(default_factory=dict)

    def see(self, example: Example, reading: Reading) -> None:
        """Keep an image if it is one of them."""
        if example.case.label != NORMAL or reading.maps is None or reading.lungs is None:
            return
        lungs = cv2.resize(reading.lungs.astype(np.float32), example.pixels.shape[::-1])
        self._kept[example.case.name] = example.pixels, np.asarray(lungs, np.float32)
        if len(self._kept) > self.most:
            del self._kept[max(self._kept)]

    def __len__(self) -> int:
        return len(self._kept)

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Model inputs and lungs, `[n, size, size]` each, in the order of their names; n must be at least 1."""
        pixels, lungs = zip(*(self._kept[name] for name in sorted(self._kept)), strict=True)
        return np.stack(pixels), np.stack(lungs)


def painted(predictor: Predictor, healthy: Healthy, plan: Plan) -> Document:
    """Paint opacities into healthy lungs: does the map point at them, and does severity grow with them?

    Returns:
        By finding, kinds of a finding left out: `pointing` and `growth` (`training.explanations`); empty without
        healthy images.
    """
    if not len(healthy):
        return {}
    pixels, lungs = healthy.arrays()
    return {
        finding.name: {
            "pointing": asdict(point(predictor.predict, column, pixels, lungs)),
            "growth": asdict(grow(_Graded(predictor, column, plan.point), pixels, lungs)),
        }
        for column, finding in enumerate(predictor.bundle.findings)
        if finding.parent is None
    }


@dataclass(frozen=True, slots=True)
class _Graded:
    """Share of the lungs that is marked for a finding, and whether it is called present, of model inputs."""

    predictor: Predictor
    column: int
    point: str

    def __call__(self, pixels: NDArray[np.uint8]) -> Sequence[tuple[float, bool]]:
        bundle: Bundle = self.predictor.bundle
        return [self._graded(reading) for reading in interpret(bundle, self.predictor.predict(pixels), self.point)]

    def _graded(self, reading: Reading) -> tuple[float, bool]:
        if not reading.findings:
            return 0.0, False  # out of scope
        finding = reading.findings[self.column]
        return finding.area_share, finding.decision is Decision.PRESENT
