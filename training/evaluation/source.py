"""Where the images of an evaluation come from: what is known of each, and what could not be read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle import FindingSpec
from models.geometry import Geometry

NORMAL: Final = "normal"
"""The class of images that have none of a model's findings."""


class EvaluationError(Exception):
    """An evaluation that cannot be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of an image beside its pixels.

    Attributes:
        name: what results call it; made of its content or its place, never of a file's name or a patient.
        patient: whose it is, for drawing images of one patient together; None if unknown. Results do not hold it.
        label: its class, a finding's name or `normal`.
        labels: whether it has a finding, by the finding's name; what is not known is absent.
        attributes: the subgroup that it is in, by what divides them (`sex`, `age`, `device`); unknown ones are absent.
    """

    name: str
    patient: str | None
    label: str
    labels: Mapping[str, bool]
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """An image as the model gets it.

    Attributes:
        case: what is known of it.
        pixels: uint8 `[size, size]`, made by the bundle's spec.
        geometry: the way from there to the image as stored.
        modality: (0008,0060), None if it has none.
        body_part: (0018,0015), None if it has none.
    """

    case: Case
    pixels: NDArray[np.uint8]
    geometry: Geometry
    modality: str | None = None
    body_part: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that was found and cannot be judged.

    Attributes:
        name: as of a case.
        label: its class; None if it has none.
        kind: why in a few words, the same for all that fail alike.
        reason: why, exactly; holds no patient data.
    """

    name: str
    label: str | None
    kind: str
    reason: str


class Source(Protocol):
    """Labelled images, streamed: not all of them are ever in memory."""

    def __len__(self) -> int:
        """How many examples and problems there will be, for a progress bar."""

    def __iter__(self) -> Iterator[Example | Problem]:
        """Each image once, in an order that is the same every time."""

    def describe(self) -> Mapping[str, Any]:
        """What the data are, as JSON values, `kind` and `sha256` among them; asked when all have been read."""

    def display(self, name: str) -> NDArray[np.uint8] | None:
        """An example in its own geometry as it is shown, `[rows, columns]`; None where that cannot be had."""

    def whereabouts(self, name: str) -> str:
        """Where a person finds it. This may name a patient, so it goes to no report."""


def labels_of(label: str, findings: Sequence[FindingSpec]) -> dict[str, bool]:
    """What an image's class says of each finding, by name; a finding that it says nothing of is absent.

    `normal` has none of them. A class that is a finding has that one and those that it is a kind of, and not the other
    kinds of the same finding, for an image has one class. Of its own kinds, and of findings that have nothing to do
    with it, nothing is known.

    Raises:
        EvaluationError: the label is no class of the model.
    """
    if label == NORMAL:
        return {finding.name: False for finding in findings}
    by_code = {finding.code: finding for finding in findings}
    found = next((finding for finding in findings if finding.name == label), None)
    if found is None:
        raise EvaluationError(f"{label!r} is neither {NORMAL!r} nor one of the model's findings")
    known: dict[str, bool] = {}
    while found is not None:
        if found.parent is not None:
            known |= {other.name: False for other in findings if other.parent == found.parent}
        known[found.name] = True
        found = by_code.get(found.parent) if found.parent is not None else None
    return known
