"""Examples through the network and the decisions that serve, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.decision import Reading, calibrate, interpret, screen
from models.prediction import Prediction
from schemas.events import Decision
from training.evaluation.source import Case, EvaluationError, Example, Problem, Source
from training.explanations import inside_share


class Predictor(Protocol):
    """A bundle's network; `models.engine.Engine` is one."""

    @property
    def bundle(self) -> Bundle:
        """The model."""

    @property
    def largest_batch(self) -> int:
        """How many images one call takes at best."""

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """Run the network on `[n, size, size]`."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the model said of an image.

    Attributes:
        case: what is known of it.
        probabilities: `[findings]`, calibrated; of images out of scope too, though the service would not say them.
        reading: what the service would say; without its maps.
        in_lungs: `[findings]`, share of each explanation map that lies in the lungs, nan of an empty one; None out of
            scope.
    """

    case: Case
    probabilities: NDArray[np.float64]
    reading: Reading
    in_lungs: NDArray[np.float64] | None = None

    def decision(self, column: int) -> Decision | None:
        """What the service would say of a finding; None out of scope."""
        return self.reading.findings[column].decision if self.reading.findings else None


class Watcher(Protocol):
    """Something that is shown every image with what was said of it, while they stream by."""

    def see(self, example: Example, reading: Reading) -> None:
        """Keep of it what is wanted."""


@dataclass(slots=True)
class Judgement:
    """What became of everything that a source held."""

    judged: list[Judged] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def judge(
    predictor: Predictor,
    source: Source,
    point: str,
    watchers: Sequence[Watcher] = (),
    advance: Callable[[], Any] = lambda: None,
) -> Judgement:
    """Ask the model about every image of a source; each watcher is shown each answer.

    Images that the service would refuse are asked about too, so that a model does not look better by refusing: its
    refusals are in the readings, its probabilities are there for all.

    Raises:
        EvaluationError: the network says something that is no number.
    """
    done = Judgement()
    for batch in _batches(source, predictor.largest_batch, done.problems, advance):
        done.judged += _judge(predictor, batch, point, watchers)
    return done


def _batches(
    source: Source, size: int, problems: list[Problem], advance: Callable[[], Any]
) -> Iterator[Sequence[Example]]:
    batch: list[Example] = []
    for item in source:
        advance()
        if isinstance(item, Problem):
            problems.append(item)
            continue
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _judge(predictor: Predictor, batch: Sequence[Example], point: str, watchers: Sequence[Watcher]) -> Iterator[Judged]:
    bundle = predictor.bundle
    prediction = predictor.predict(np.stack([example.pixels for example in batch]))
    probabilities = calibrate(bundle, prediction.logits)
    try:
        readings = interpret(bundle, prediction, point)
    except ValueError as error:
        raise EvaluationError(f"{bundle.id} cannot be judged: {error}") from error
    for example, said, reading in zip(batch, probabilities, readings, strict=True):
        screened = screen(bundle, example.pixels, example.modality, example.body_part)
        final = reading if screened.in_scope else Reading(screened)
        for watcher in watchers:
            watcher.see(example, final)
        yield Judged(example.case, said, Reading(final.scope, final.findings, final.distance), _in_lungs(final))


def _in_lungs(reading: Reading) -> NDArray[np.float64] | None:
    if reading.maps is None or reading.lungs is None:
        return None
    return inside_share(reading.maps, np.broadcast_to(reading.lungs, (len(reading.maps), *reading.lungs.shape)))


def calls(bundle: Bundle, probabilities: NDArray[np.float64], point: str) -> NDArray[np.bool_]:
    """Whether the threshold alone calls each finding, `[n, findings]`; a kind of a finding only with the finding."""
    columns = {finding.code: column for column, finding in enumerate(bundle.findings)}
    reached = probabilities >= np.array([finding.thresholds[point] for finding in bundle.findings])
    called = reached.copy()
    for column, finding in enumerate(bundle.findings):
        if finding.parent is not None:
            called[:, column] &= reached[:, columns[finding.parent]]
    return called
