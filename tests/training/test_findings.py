"""Names of findings, and the concepts that they stand for."""

import pytest

from training.findings import CODES, FindingError, concepts, implied, spelled, with_parents


def test_what_is_known_has_a_code() -> None:
    assert concepts(["pneumonia", "mass"]) == {"mass": "309529002", "pneumonia": "233604007"}
    assert concepts(["pneumonia", "mass"], ["Mass"]) == {"mass": "309529002"}


def test_a_code_can_be_given() -> None:
    assert concepts(["nodule", "mass"], ["nodule = 427359005"]) == {"nodule": "427359005"}
    assert concepts(["mass"], ["mass=4147007"]) == {"mass": "4147007"}


@pytest.mark.parametrize(
    ("named", "wanted", "words"),
    [
        (["nodule", "mass"], [], "'nodule=CODE'"),
        (["nodule"], ["nodule=J18.9"], "no SNOMED CT code is known for nodule"),
        (["mass"], ["hernia=1"], "knows nothing of hernia, only of mass"),
    ],
)
def test_without_one_it_says_what_to_do(named: list[str], wanted: list[str], words: str) -> None:
    with pytest.raises(FindingError, match=words):
        concepts(named, wanted)


def test_spelling() -> None:
    assert spelled(" Viral_Pneumonia ") == spelled("viral-pneumonia") == "viral pneumonia"
    assert with_parents(["viral pneumonia", "mass"]) == {"viral pneumonia", "pneumonia", "mass"}


def test_what_follows_from_what() -> None:
    assert list(implied(CODES["viral pneumonia"], True)) == [CODES["pneumonia"]]
    assert list(implied(CODES["viral pneumonia"], False)) == []
    assert set(implied(CODES["pneumonia"], False)) == {CODES["viral pneumonia"], CODES["bacterial pneumonia"]}
    assert list(implied(CODES["pneumonia"], True)) == []
