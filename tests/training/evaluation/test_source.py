"""What a class says of a model's findings."""

import pytest

from models.bundle import Bundle
from training.evaluation.source import EvaluationError, labels_of


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("normal", {"pneumonia": False, "bacterial pneumonia": False, "viral pneumonia": False}),
        ("pneumonia", {"pneumonia": True}),
        ("viral pneumonia", {"pneumonia": True, "bacterial pneumonia": False, "viral pneumonia": True}),
    ],
)
def test_a_kind_implies_the_finding_and_not_the_other_kinds(bundle: Bundle, label: str, expected: dict) -> None:
    assert labels_of(label, bundle.findings) == expected


def test_a_label_that_is_no_class_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(EvaluationError, match="'zebra' is neither 'normal' nor"):
        labels_of("zebra", bundle.findings)
