"""Images of an archive made into model inputs by the serving path, with no log at hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import PreprocessSpec
from training.archive.errors import ArchiveError
from training.archive.example import Example
from training.archive.opened import Archive
from training.archive.picture import framed
from training.examples import Examples


def prepare(
    archive: Archive,
    examples: Sequence[Example],
    findings: Sequence[str],
    spec: PreprocessSpec,
    advance: Callable[[], Any] = lambda: None,
) -> Examples:
    """Read examples and make them model inputs by the path that serves DICOM.

    Args:
        archive: where the pictures are.
        examples: which of them, in order.
        findings: names of findings in the order of the label columns.
        spec: the recipe.
        advance: called after each picture.

    Returns:
        The inputs, and labels that are nan where the archive does not say.

    Raises:
        ArchiveError: an example says nothing of any of the findings, or its picture is broken.
    """
    pixels = np.zeros((len(examples), spec.size, spec.size), np.uint8)
    labels = np.zeros((len(examples), len(findings)), np.float32)
    for row, example in enumerate(examples):
        labels[row] = _labels(example, findings)
        name = f"{example.file} in {archive.path.name}"
        pixels[row], _ = framed(archive.content(example), spec, name)
        advance()
    return Examples(pixels, labels)


def _labels(example: Example, findings: Sequence[str]) -> NDArray[np.float32]:
    said = [example.says(finding) for finding in findings]
    if all(one is None for one in said):
        raise ArchiveError(f"{example.file} is labelled {example.label!r}, which says nothing of {', '.join(findings)}")
    return np.array([np.nan if one is None else one for one in said], np.float32)
