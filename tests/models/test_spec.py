import json
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spec import PreprocessSpec, SpecError


@given(version=st.integers(1, 99), size=st.integers(16, 1024), border=st.floats(0, 50))
def test_json_round_trip_keeps_the_hash(version: int, size: int, border: float) -> None:
    spec = PreprocessSpec(name="chest", version=version, size=size, border_std=border)
    again = PreprocessSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.sha256 == spec.sha256
    assert again.id == f"chest@{version}"


def test_hash_is_pinned() -> None:
    # Preprocessed images on the log carry it: a change here strands all of them.
    spec = PreprocessSpec(name="chest-128", version=1, size=128)
    assert spec.sha256 == "70dc87c15f013a0d193a5976f62a0b95f896f88b04b91018a21c7e20acee8f39"


def test_every_field_takes_part_in_the_hash(spec: PreprocessSpec) -> None:
    other = {
        "name": "x",
        "version": 9,
        "size": 99,
        "window_percentiles": (2.0, 98.0),
        "border_std": 9.0,
        "border_max_share": 0.1,
        "stretch_percentiles": (3.0, 97.0),
        "stretch_min_range": 9.0,
    }
    assert set(other) | {"dtype"} == {field.name for field in fields(spec)}
    hashes = {replace(spec, **{name: value}).sha256 for name, value in other.items()} | {spec.sha256}
    assert len(hashes) == len(other) + 1


def test_is_frozen(spec: PreprocessSpec) -> None:
    with pytest.raises(FrozenInstanceError):
        spec.size = 1


@pytest.mark.parametrize(
    "change",
    [
        {"size": 4},
        {"version": 0},
        {"name": ""},
        {"name": "a@b"},
        {"dtype": "float16"},
        {"window_percentiles": (99.0, 1.0)},
        {"border_max_share": 0.5},
        {"stretch_min_range": 0.0},
    ],
)
def test_refuses_values_that_cannot_be(spec: PreprocessSpec, change: dict) -> None:
    with pytest.raises(SpecError):
        replace(spec, **change)


def test_refuses_unknown_and_missing_fields(spec: PreprocessSpec) -> None:
    with pytest.raises(SpecError, match="clahe"):
        PreprocessSpec.from_json({**spec.to_json(), "clahe": True})
    with pytest.raises(SpecError, match="incomplete"):
        PreprocessSpec.from_json({"name": "chest"})
