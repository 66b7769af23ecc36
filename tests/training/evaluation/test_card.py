"""The card: the sections of Mitchell et al., and the figures of the bundle and of an evaluation."""

import io
import re
from dataclasses import dataclass, replace

import pytest
from rich.console import Console

from models.bundle import Bundle
from training.card import write_card
from training.evaluation.findings import Plan
from training.evaluation.run import evaluate

SECTIONS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Severity",
    "Ethical considerations",
    "Caveats and recommendations",
]


def sections(card: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", card, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def evaluation(play):
    lines = [{"label": "normal", "says": (0.1, 0.1, 0.1), "attributes": {"sex": "male"}}] * 40
    lines += [
        {"label": "viral pneumonia", "says": (0.9, 0.1, 0.8)},
        {"label": "bacterial pneumonia", "says": (0.4, 0.4, 0.1)},
    ]
    predictor, source = play(lines)
    return evaluate(predictor, source, Plan("accuracy", resamples=20), Console(file=io.StringIO())).summary


def test_without_an_evaluation_it_has_the_figures_of_the_bundle(bundle: Bundle) -> None:
    card = write_card(bundle)
    found = sections(card)
    assert list(found) == SECTIONS
    assert card.startswith("# lungs@7\n")
    assert "| validation/pneumonia | 10 | 0.9000 |" in found["Quantitative analyses"]
    assert "No evaluation by subgroup" in found["Factors"]
    assert "Made-up pictures." in found["Training data"]
    assert "Knows nothing of medicine." in found["Caveats and recommendations"]


def test_it_says_what_severity_is_and_is_not(bundle: Bundle) -> None:
    text = " ".join(sections(write_card(bundle))["Severity"].split())
    assert "share of the lung area" in text
    assert "no clinical grading" in text
    assert "moderate from 25.0% of the lungs, severe from 50.0%" in text


def test_with_an_evaluation_it_has_intervals_subgroups_and_kinds(bundle: Bundle, evaluation) -> None:
    found = sections(write_card(bundle, evaluation=evaluation))
    assert list(found) == SECTIONS
    analyses = found["Quantitative analyses"]
    low, high = evaluation["findings"]["pneumonia"]["intervals"]["accuracy"]
    assert f"| accuracy | 0.976 | {low:.3f} to {high:.3f} | 0.976 |" in analyses
    assert "| class: normal | 40 |" in analyses
    assert "| class: viral pneumonia (small) | 1 |" in analyses
    assert "over 2 images of a known kind: accuracy 1.000" in analyses
    assert "Evaluated by class, sex." in found["Factors"]
    assert "do not say age" in found["Factors"]
    assert "class viral pneumonia" in found["Caveats and recommendations"]
    assert "class normal" not in found["Caveats and recommendations"]
    assert "42 images (list, SHA-256 `000000000000`)" in found["Evaluation data"]


def test_every_table_has_as_many_cells_in_each_row(bundle: Bundle, evaluation) -> None:
    tables = re.findall(r"(?:^\|.*\|$\n)+", write_card(bundle, evaluation=evaluation), re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_a_configuration_brings_words_of_its_own(bundle: Bundle) -> None:
    @dataclass(frozen=True)
    class Words:
        data: str = "Other pictures."
        limits: str = "Other limits."

    found = sections(write_card(bundle, Words()))
    assert found["Training data"].strip() == "Other pictures."
    assert "Other limits." in found["Caveats and recommendations"]


def test_a_bundle_that_says_nothing_is_said_to(bundle: Bundle) -> None:
    silent = replace(bundle, lineage={}, metrics={})
    found = sections(write_card(silent))
    assert "The bundle does not say." in found["Training data"]
    assert found["Quantitative analyses"].strip() == "None yet."


def test_the_split_is_counted(bundle: Bundle) -> None:
    lineage = {**bundle.lineage, "seed": 3, "images": {"train": 9, "test": 2}, "patients": {"train": 5, "test": 1}}
    text = sections(write_card(replace(bundle, lineage=lineage)))["Training data"]
    assert "Split by patient (seed 3): train 9 images of 5 patients; test 2 images of 1 patients." in text
