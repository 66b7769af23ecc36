"""The form of sidecars: what is wrong is named, and nothing is dropped."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.errors import BrokenObject
from producers.sidecar import parse_sidecar

Make = Callable[..., bytes]
PATIENT = {"id": "MRN-4711"}
DEVICE = {"manufacturer": "Derma Ltd"}


def test_all_fields(sidecar: Make) -> None:
    told = parse_sidecar(
        sidecar(series_uid="1.2.3", study_uid="1.2.4", instance_number=7, series_description="left arm")
    )
    assert (told.patient.id, told.device.model, told.laterality, told.instance_number) == ("MRN-4711", "D1", "L", 7)
    assert str(told.acquired_at) == "2026-05-01 10:30:00+02:00"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"colour": "red"}, "colour: is not a field of the form"),
        ({"patient": PATIENT | {"address": "x"}}, "patient.address: is not a field of the form"),
        ({"device": DEVICE | {"owner": "x"}}, "device.owner: is not a field of the form"),
        ({"patient": {"name": "Doe^Jane"}}, "patient.id: is missing"),
        ({"patient": {"id": ""}}, "patient.id: String should have at least 1 character"),
        ({"patient": {"id": "x" * 65}}, "patient.id: String should have at most 64 characters"),
        ({"patient": {"id": "a\\b"}}, "patient.id: holds a control character"),
        ({"patient": {"id": "a\nb"}}, "patient.id: holds a control character"),
        ({"patient": {"id": " a"}}, "patient.id: holds a control character, a backslash, or blanks"),
        ({"patient": {"id": 4711}}, "patient.id: Input should be a valid string"),
        ({"patient": PATIENT | {"birth_date": "31.03.1970"}}, "patient.birth_date: Input should be a valid date"),
        ({"patient": PATIENT | {"sex": "f"}}, "patient.sex: Input should be 'M', 'F' or 'O'"),
        ({"patient": PATIENT | {"name": "a=b=c=d"}}, "patient.name: is no name"),
        ({"version": 2}, "version: Input should be 1"),
        ({"version": None}, "version: is missing"),
        ({"modality": "xc"}, "modality: String should match"),
        ({"acquired_at": "yesterday"}, "acquired_at: Input should be a valid datetime"),
        ({"acquired_at": 1777624200}, "acquired_at: Input should be a valid datetime"),
        ({"acquired_at": "2026-05-01T10:30:00+15:00"}, "acquired_at: has an offset from UTC"),
        ({"burned_in_annotation": None}, "burned_in_annotation: is missing"),
        ({"burned_in_annotation": "no"}, "burned_in_annotation: Input should be a valid boolean"),
        ({"accession_number": None}, "study_uid or accession_number is missing"),
        ({"accession_number": "x" * 17}, "accession_number: String should have at most 16 characters"),
        ({"study_uid": "1.02.3"}, "study_uid: String should match"),
        ({"study_uid": "1." * 40 + "1"}, "study_uid: String should have at most 64 characters"),
        ({"instance_number": 0}, "instance_number: Input should be greater than or equal to 1"),
        ({"laterality": "left"}, "laterality: Input should be 'R', 'L' or 'B'"),
        ({"body_part": "GIZZARD"}, "body_part is needed with modality XC, one of ABDOMEN"),
        ({"body_part": None}, "body_part is needed with modality XC, one of ABDOMEN"),
        ({"modality": "OP"}, "device.type is needed with modality OP, one of DirectOphthalmoscope"),
        ({"modality": "OP", "laterality": None}, "laterality is needed with modality OP"),
        ({"device": DEVICE | {"type": "FundusCamera"}}, "device.type is for modality OP alone"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_said_of_it(sidecar: Make, fields: dict[str, object], words: str) -> None:
    with pytest.raises(BrokenObject) as caught:
        parse_sidecar(sidecar(**fields))
    first, *rest = str(caught.value).splitlines()
    assert first == "the sidecar is wrong"
    assert any(line.startswith(words) for line in rest)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"version": 1, "version": 1}', b"NaN,"]
)
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenObject, match="no JSON in UTF-8"):
        parse_sidecar(content)


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"x"'])
def test_what_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenObject, match="the sidecar is wrong"):
        parse_sidecar(content)


def test_the_example_of_the_documentation_is_a_sidecar() -> None:
    page = Path(__file__).parents[2] / "docs" / "folder.md"
    found = re.search(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    assert found is not None
    assert parse_sidecar(found[1].encode()).patient.name == "Doe^Jane"


def test_windows_may_write_its_mark_first(sidecar: Make) -> None:
    assert parse_sidecar(b"\xef\xbb\xbf" + sidecar()) == parse_sidecar(sidecar())


@given(st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2))
def test_a_value_never_stands_in_the_reason(value: object) -> None:
    secret = "Kowalska-4711"
    with pytest.raises(BrokenObject) as caught:
        parse_sidecar(
            json.dumps({"version": secret, "patient": secret, "modality": secret, "x": [value, secret]}).encode()
        )
    assert secret not in str(caught.value)
