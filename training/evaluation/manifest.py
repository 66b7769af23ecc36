"""One split of a manifest: images from the log, by the pseudonyms of their patients."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.geometry import Geometry
from training.evaluation.source import NORMAL, Case, EvaluationError, Example, Problem
from training.examples import Examples
from training.manifest import Manifest, ManifestImage
from training.split import Split


class ManifestSource:
    """The images of a split as model inputs; their own pictures stay on the log.

    Args:
        manifest: the data set.
        examples: its model inputs of the split.
        part: the split.
        bundle: the model to be judged.

    Raises:
        EvaluationError: the model reads other pixels, or the manifest knows none of its findings, or has no image.
    """

    def __init__(self, manifest: Manifest, examples: Examples, part: Split, bundle: Bundle) -> None:
        if manifest.spec != bundle.spec:
            raise EvaluationError(f"the manifest is of {manifest.spec.id}, {bundle.id} reads {bundle.spec.id}")
        if not set(manifest.findings) & {finding.code for finding in bundle.findings}:
            raise EvaluationError(f"the manifest knows none of the findings of {bundle.id}")
        if not len(examples):
            raise EvaluationError(f"the manifest has no image for {part}")
        self._manifest, self._part, self._pixels = manifest, part, examples.pixels
        self._images = manifest.of(part)
        self._rows = {image.event_id: row for row, image in enumerate(self._images)}
        self._names = {finding.code: finding.name for finding in bundle.findings}

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Example | Problem]:
        size = self._manifest.spec.size
        for image, pixels in zip(self._images, self._pixels, strict=True):
            yield Example(case=self._case(image), pixels=np.asarray(pixels), geometry=Geometry.whole(size))

    def describe(self) -> Mapping[str, Any]:
        """Kind, split, number of images and the manifest's SHA-256."""
        counts = {str(self._part): len(self)}
        return {"kind": "manifest", "files": counts, "sha256": self._manifest.sha256}

    def display(self, name: str) -> NDArray[np.uint8] | None:
        """The model input."""
        return np.asarray(self._pixels[self._rows[name]])

    def whereabouts(self, name: str) -> str:
        """The image's event_id and place on the log."""
        image = self._images[self._rows[name]]
        return f"{name} at {self._manifest.images.topic}/{image.partition}@{image.offset}"

    def _case(self, image: ManifestImage) -> Case:
        labels = {name: image.labels[code] for code, name in self._names.items() if code in image.labels}
        return Case(name=image.event_id, patient=image.patient, label=_class(labels), labels=labels)


def _class(labels: Mapping[str, bool]) -> str:
    """The last finding that the image has: kinds of a finding come after it in a bundle."""
    return next((name for name in reversed(tuple(labels)) if labels[name]), NORMAL)
