"""The most confident errors, kept while images stream by, and drawn in the end."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.bundle import FindingSpec
from models.decision import FindingDecision, Reading
from models.geometry import Geometry
from models.overlay import MARGIN, overlay
from schemas.events import Decision
from training.evaluation.source import Example

EACH: Final = 4
"""How many of a kind are kept."""
_EDGE: Final = 640
_QUALITY: Final = 82

Display = Callable[[str], NDArray[np.uint8] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Error:
    """An image of which the service would have said something wrong.

    Attributes:
        name: of the example.
        finding: what was said of the finding that it is wrong about.
        label: the image's class.
        pixels: the model's square.
        geometry: the way back from it.
        heat: `[h, w]` over the square, the explanation map of the finding, 0 to 1.
        lungs: `[h, w]` over the square, 0 to 1; None if the network found none.
    """

    name: str
    finding: FindingDecision
    label: str
    pixels: NDArray[np.uint8]
    geometry: Geometry
    heat: NDArray[np.float32]
    lungs: NDArray[np.float32] | None


@dataclass(slots=True)
class Gallery:
    """The errors furthest from the threshold, by finding, alarms and misses apart."""

    findings: Sequence[FindingSpec]
    each: int = EACH
    _kept: dict[tuple[str, bool], list[tuple[float, int, Error]]] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=lambda: count(0, -1))

    def see(self, example: Example, reading: Reading) -> None:
        """Keep what was said of an example if it is among the worst so far."""
        for column, finding in enumerate(reading.findings):
            true = example.case.labels.get(finding.name)
            if true is None or finding.decision not in (Decision.ABSENT, Decision.PRESENT):
                continue
            if (finding.decision is Decision.PRESENT) is not true:
                self._keep(example, reading, column)

    def errors(self, finding: str, misses: bool) -> list[Error]:
        """Those of a finding, the most confident first."""
        kept = sorted(self._kept.get((finding, misses), []), key=lambda entry: entry[:2], reverse=True)
        return [error for _, _, error in kept]

    def _keep(self, example: Example, reading: Reading, column: int) -> None:
        finding = reading.findings[column]
        kept = self._kept.setdefault((finding.name, finding.decision is Decision.ABSENT), [])
        confidence = abs(_log_odds(finding.probability) - _log_odds(finding.threshold))
        if len(kept) == self.each and confidence <= kept[0][0]:
            return
        assert reading.maps is not None  # noqa: S101 # a reading with findings rests on maps
        heat = reading.maps[column] / max(float(reading.maps[column].max()), 1e-9)
        lungs = None if reading.lungs is None else reading.lungs.astype(np.float32)
        case = example.case
        error = Error(case.name, finding, case.label, example.pixels, example.geometry, heat.astype(np.float32), lungs)
        push = heapq.heappush if len(kept) < self.each else heapq.heapreplace
        push(kept, (confidence, next(self._order), error))


def draw(error: Error, display: Display) -> bytes:
    """A JPEG of the image in its own geometry, with where the model looked; of the model's square if it is gone."""
    shown = display(error.name)
    if shown is not None and shown.shape == (error.geometry.original_rows, error.geometry.original_columns):
        heat, lungs = error.geometry.to_original(error.heat), error.lungs
        picture = overlay(shown, heat, (), None if lungs is None else error.geometry.to_original(lungs))
    else:
        picture = overlay(error.pixels, error.heat, (), error.lungs)
    # The page says in text what the strip below a picture is for.
    picture = picture[: -2 * MARGIN]
    scale = _EDGE / max(picture.shape[:2])
    size = tuple(max(1, round(edge * scale)) for edge in picture.shape[1::-1])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-12), 1 - 1e-12)
    return float(np.log(clipped / (1 - clipped)))
