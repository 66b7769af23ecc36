"""Every image is asked about once, refused or not, and the service's decisions stand beside the probabilities."""

import numpy as np
import pytest

from schemas.events import Decision
from training.evaluation.judge import calls, judge
from training.evaluation.source import EvaluationError, Problem

PROBLEM = Problem(name="file-9", label="normal", kind="cut short", reason="10 bytes, 20 expected")


def run(predictor, source):
    return judge(predictor, source, "accuracy")


def test_each_image_comes_once_and_in_order(play) -> None:
    predictor, source = play([{"label": "normal", "says": (0.2, 0.1, 0.1)}] * 10)
    source.items = [*source.items[:3], PROBLEM, *source.items[3:]]
    advanced = []
    done = judge(predictor, source, "accuracy", advance=lambda: advanced.append(1))
    assert [one.case.name for one in done.judged] == [f"image-{number}" for number in range(10)]
    assert done.problems == [PROBLEM]
    assert predictor.batches == [4, 4, 2]
    assert len(advanced) == 11


def test_what_the_service_refuses_has_a_probability_all_the_same(play) -> None:
    says = (0.9, 0.2, 0.8)
    predictor, source = play(
        [
            {"label": "normal", "says": says},
            {"label": "normal", "says": says, "modality": "CT"},
            {"label": "normal", "says": says, "distance": 20.0},
        ]
    )
    plain, header, far = run(predictor, source).judged
    assert [one.decision(0) for one in (plain, header, far)] == [Decision.PRESENT, None, None]
    assert header.reading.scope.reason.startswith("modality CT")
    assert far.reading.scope.reason.startswith("unlike the training images")
    for one in (plain, header, far):
        np.testing.assert_allclose(one.probabilities, says, atol=1e-6)


def test_maps_are_not_kept(play) -> None:
    predictor, source = play([{"label": "normal", "says": (0.2, 0.1, 0.1)}])
    (one,) = run(predictor, source).judged
    assert one.reading.maps is one.reading.lungs is None


def test_a_kind_is_called_only_with_the_finding(bundle) -> None:
    said = np.array([[0.4, 0.9, 0.1], [0.6, 0.9, 0.1], [0.5, 0.49, 0.5]])
    assert calls(bundle, said, "accuracy").tolist() == [
        [False, False, False],
        [True, True, False],
        [True, False, True],
    ]


def test_a_network_that_says_no_number_is_an_error(play) -> None:
    predictor, source = play([{"label": "normal", "says": (float("nan"), 0.1, 0.1)}])
    with pytest.raises(EvaluationError, match="not finite"):
        run(predictor, source)
