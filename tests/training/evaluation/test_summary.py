"""The document of an evaluation, on a case small enough to count by hand."""

import io
import json

import pytest
from rich.console import Console

from training.evaluation.findings import Plan
from training.evaluation.run import evaluate
from training.evaluation.source import EvaluationError, Problem
from training.metrics import FIGURES

#: Pneumonia: 3 found, 1 missed, 1 false alarm, 2 cleared; a refused and an indeterminate image are among them.
CASE = [
    {"label": "bacterial pneumonia", "says": (0.9, 0.8, 0.3), "attributes": {"sex": "female"}},
    {"label": "bacterial pneumonia", "says": (0.8, 0.2, 0.6), "attributes": {"sex": "female"}},
    {"label": "viral pneumonia", "says": (0.7, 0.1, 0.9), "attributes": {"sex": "male"}},
    {"label": "viral pneumonia", "says": (0.1, 0.1, 0.6)},
    {"label": "normal", "says": (0.6, 0.1, 0.1), "modality": "CT"},
    {"label": "normal", "says": (0.49, 0.1, 0.1)},
    {"label": "normal", "says": (0.25, 0.7, 0.1)},
]
PLAN = Plan("accuracy", resamples=50)


def summary(play, lines=CASE, problems=(), plan=PLAN):
    predictor, source = play(lines)
    source.items = [*source.items, *problems]
    return evaluate(predictor, source, plan, Console(file=io.StringIO())).summary


def test_headline_figures_are_over_all_readable_images(play) -> None:
    finding = summary(play)["findings"]["pneumonia"]
    assert finding["confusion"] == {
        "true_positive": 3,
        "false_positive": 1,
        "true_negative": 2,
        "false_negative": 1,
    }
    assert (finding["images"], finding["positives"], finding["negatives"]) == (7, 4, 3)
    assert finding["accuracy"] == pytest.approx(5 / 7)
    assert finding["recall"] == 0.75
    assert finding["specificity"] == pytest.approx(2 / 3)
    assert finding["auroc"] == pytest.approx(9 / 12)
    assert set(finding["intervals"]) == set(FIGURES)
    low, high = finding["intervals"]["accuracy"]
    assert 0 <= low <= 5 / 7 <= high <= 1


def test_beside_them_stand_those_over_what_was_decided(play) -> None:
    decided = summary(play)["findings"]["pneumonia"]["decided"]
    assert (decided["images"], decided["out_of_scope"], decided["indeterminate"]) == (5, 1, 1)
    assert decided["share"] == pytest.approx(5 / 7)
    assert decided["accuracy"] == 0.8
    assert decided["specificity"] == 1.0


def test_a_kind_counts_only_where_the_finding_is_called(play) -> None:
    finding = summary(play)["findings"]["bacterial pneumonia"]
    assert finding["parent"] == "pneumonia"
    assert finding["confusion"]["false_positive"] == 0, "the last image has 0.7, but no pneumonia"
    assert finding["confusion"]["true_positive"] == 1


def test_which_kind(play) -> None:
    kinds = summary(play)["kinds"]["pneumonia"]
    assert kinds["kinds"] == ["bacterial pneumonia", "viral pneumonia"]
    assert kinds["confusion"] == [[1, 1], [0, 2]]
    assert (kinds["images"], kinds["accuracy"]) == (4, 0.75)


def test_another_operating_point_changes_calls_and_not_scores(play) -> None:
    first = summary(play)["findings"]["pneumonia"]
    other = summary(play, plan=Plan("sensitivity-95", resamples=5))["findings"]["pneumonia"]
    assert other["threshold"] == 0.2
    assert other["specificity"] == 0.0
    assert other["auroc"] == first["auroc"]
    assert first["operating_points"]["sensitivity-95"]["specificity"] == 0.0
    assert other["operating_points"] == first["operating_points"]


def test_subgroups_are_by_class_and_attribute_and_small_ones_are_marked(play) -> None:
    groups = summary(play)["findings"]["pneumonia"]["subgroups"]
    assert {name: {value: group["images"] for value, group in group.items()} for name, group in groups.items()} == {
        "class": {"bacterial pneumonia": 2, "normal": 3, "viral pneumonia": 2},
        "sex": {"female": 2, "male": 1, "not known": 4},
    }
    assert groups["sex"]["male"]["small"]
    assert groups["class"]["viral pneumonia"]["recall"] == 0.5
    assert groups["class"]["viral pneumonia"]["specificity"] is None


def test_a_large_group_of_one_class_is_not_small(play) -> None:
    groups = summary(play, [CASE[0]] * 30 + [CASE[6]] * 3)["findings"]["pneumonia"]["subgroups"]["class"]
    assert not groups["bacterial pneumonia"]["small"]
    assert groups["normal"]["small"]


@pytest.mark.parametrize(("positives", "small"), [(9, True), (10, False)])
def test_a_large_group_with_few_of_a_class_is_small(play, positives, small) -> None:
    lines = [line | {"attributes": {"sex": "male"}} for line in [CASE[0]] * positives + [CASE[6]] * 40]
    assert summary(play, lines)["findings"]["pneumonia"]["subgroups"]["sex"]["male"]["small"] is small


def test_refusals_and_problems_are_counted_by_reason(play) -> None:
    problems = [
        Problem(name=f"file-{number}", label="normal", kind="cut short", reason=f"{number} bytes") for number in (1, 2)
    ]
    lines = [*CASE, CASE[4] | {"label": "viral pneumonia"}, CASE[0] | {"distance": 11.5}, CASE[0] | {"distance": 12.5}]
    document = summary(play, lines, [*problems, Problem(name="file-3", label=None, kind="odd", reason="odd")])
    assert document["images"] == {
        "found": 13,
        "readable": 10,
        "unreadable": 3,
        "in_scope": 6,
        "out_of_scope": 4,
        "duplicates": 0,
        "contradictory": 0,
        "patients": 10,
        "classes": {"bacterial pneumonia": 4, "normal": 3, "viral pneumonia": 3},
    }
    assert document["unreadable"] == [
        {"reason": "cut short", "images": 2, "classes": {"normal": 2}, "names": ["file-1", "file-2"]},
        {"reason": "odd", "images": 1, "classes": {"no class": 1}, "names": ["file-3"]},
    ]
    modality, far = document["out_of_scope"]
    assert (modality["reason"][:11], modality["classes"]) == ("modality CT", {"normal": 1, "viral pneumonia": 1})
    assert (far["reason"], far["images"]) == ("unlike the training images", 2)


def test_copies_and_contradictions_are_counted(play) -> None:
    lines = [CASE[0] | {"name": "a"}, CASE[0] | {"name": "a"}, CASE[6] | {"name": "a"}, CASE[6] | {"name": "b"}]
    images = summary(play, lines)["images"]
    assert (images["duplicates"], images["contradictory"], images["readable"]) == (2, 1, 4)


def test_a_finding_whose_truth_is_not_known_is_not_judged(play) -> None:
    document = summary(play, [{"label": "pneumonia", "says": (0.9, 0.8, 0.1)}])
    assert document["findings"]["pneumonia"]["recall"] == 1.0
    assert document["findings"]["pneumonia"]["auroc"] is None
    viral = document["findings"]["viral pneumonia"]
    assert (viral["images"], viral["accuracy"], viral["intervals"]["accuracy"]) == (0, None, None)
    assert document["kinds"] == {}


def test_the_document_is_plain_json_and_the_same_every_time(play) -> None:
    first, again = (summary(play) | {"made_at": ""} for _ in range(2))
    assert json.loads(json.dumps(first, allow_nan=False)) == first == again
    assert first["bundle"]["id"] == "lungs@7"
    assert first["method"]["resamples"] == 50


def test_images_of_one_patient_widen_the_interval(play) -> None:
    lines = [line | {"patient": f"p{number % 2}"} for number, line in enumerate(CASE * 6)]
    alone = [line | {"patient": None} for line in lines]
    wide, narrow = (
        summary(play, some, plan=Plan("accuracy", 300))["findings"]["pneumonia"]["intervals"]["recall"]
        for some in ([line | {"patient": line["label"] + str(line["says"])} for line in lines], alone)
    )
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_nothing_at_all_is_an_error(play) -> None:
    with pytest.raises(EvaluationError, match="no images"):
        summary(play, [])
