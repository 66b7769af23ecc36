"""Strategies that make any event, from the type hints of its class."""

from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import pytest
from annotated_types import Ge, Le, MinLen
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from tests.events import image

__all__ = ["image"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Avro's int and long, and timestamps that Python and Avro both hold.
INTS = st.integers(-(2**31), 2**31 - 1)
INSTANTS = st.integers(0, 4_102_444_800_000_000).map(lambda micros: EPOCH + timedelta(microseconds=micros))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def instances(kind: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = {name: of_type(field.annotation, field) for name, field in kind.model_fields.items()}
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


def of_type(hint: Any, field: FieldInfo | None = None) -> st.SearchStrategy[Any]:
    metadata = field.metadata if field else []
    if get_origin(hint) is Annotated:
        hint, *extra = get_args(hint)
        metadata = [m for item in extra for m in (item.metadata if isinstance(item, FieldInfo) else [item])]
    if get_origin(hint) is not None:
        return of_generic(get_origin(hint), get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return instances(hint)
    strategy = constrained(hint, metadata)
    return SIMPLE[hint] if strategy is None else strategy


def of_generic(origin: Any, parts: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin in (Union, UnionType):
        return st.one_of(of_type(part) for part in parts)
    if origin is tuple:
        return st.lists(of_type(parts[0]), max_size=2).map(tuple)
    assert origin is dict
    return st.dictionaries(TEXTS, of_type(parts[1]), max_size=3)


def constrained(hint: Any, metadata: list[Any]) -> st.SearchStrategy[Any] | None:
    """Hashes and shares, by the constraints on their types."""
    if hint is str and any(getattr(m, "pattern", None) for m in metadata):
        return st.binary(min_size=32, max_size=32).map(bytes.hex)
    if hint is bytes and any(isinstance(m, MinLen) for m in metadata):
        return st.binary(min_size=32, max_size=32)
    if hint is float and any(isinstance(m, Ge | Le) for m in metadata):
        return st.floats(0, 1)
    return None


SIMPLE = {
    str: TEXTS,
    bytes: st.binary(max_size=100),
    int: INTS,
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    UUID: st.uuids(),
    NoneType: st.none(),
    datetime: INSTANTS,
    AwareDatetime: INSTANTS,
}


@pytest.fixture(scope="session")
def any_event():
    """A strategy of all instances of an event class."""
    return instances
