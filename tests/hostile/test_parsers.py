"""Laws of what takes bytes apart: whatever they are, they are taken or refused in words, and nothing else happens."""

import itertools
import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from producers import jpeg, medium, part10
from producers.errors import Refused
from producers.intake import Intake, ReceivedObject
from producers.pseudonyms import Pseudonyms
from producers.upper_layer import _items
from radiolog.log.publisher import MemoryPublisher
from radiolog.settings import Settings
from schemas.events import ImageSource, SourceKind
from tests.hostile import objects, pdus, requests
from tests.hostile.elements import Elements
from tests.hostile.objects import MARK, SYNTAXES
from tests.hostile.wire import pdv

SECRET = "0123456789abcdef" * 2
OBJECTS = 12 * len(objects.KINDS)

changes = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6)


def changed(content: bytes, at: list[tuple[int, int]]) -> bytes:
    found = bytearray(content)
    for place, value in at:
        found[place % len(found)] = value
    return bytes(found)


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Intake:
    limits = Settings(state_dir=tmp_path_factory.mktemp("state"), inline_max_bytes=1 << 20, object_max_bytes=16 << 20)
    return Intake(MemoryPublisher(), Pseudonyms(SECRET.encode()), limits)


@pytest.mark.parametrize("kind", objects.KINDS)
def test_hostile_objects_are_taken_or_refused(kind: str, intake: Intake) -> None:
    """And nothing of them is told to anybody."""
    first = list(objects.KINDS).index(kind)
    with capture_logs() as logs:
        for number in range(first, OBJECTS, len(objects.KINDS)):
            thing = objects.made(number)
            assert thing.kind == kind
            with suppress(Refused):
                _accept(intake, thing.dataset, thing.syntax)
    assert MARK not in repr(logs)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SYNTAXES[:3]), changes)
def test_so_is_an_object_with_changed_bytes(intake: Intake, syntax: str, at: list[tuple[int, int]]) -> None:
    elements = Elements(objects.UID(syntax))
    region = elements.sequence(objects.REGION, [elements.element(0x00080104, "LO", b"Lung")], undefined=True)
    with suppress(Refused):
        _accept(intake, changed(elements.image({objects.REGION: region}), at), syntax)


def _accept(intake: Intake, dataset: bytes, syntax: str) -> None:
    source = ImageSource(kind=SourceKind.C_STORE, peer="HOSTILE", adapter="RADIOLOG")
    intake.accept(ReceivedObject(dataset, syntax, source, datetime.now(UTC)))


@given(st.binary(max_size=200), changes)
def test_file_meta_information(noise: bytes, at: list[tuple[int, int]]) -> None:
    header = Elements()
    meta = header.element(0x00020002, "UI", b"1.2") + header.element(0x00020010, "UI", SYNTAXES[1].encode())
    whole = bytes(128) + b"DICM" + meta + noise
    for content in (changed(whole, at), whole[: at[0][0] % len(whole)], bytes(128) + b"DICM\x02\0" + noise):
        with suppress(Refused):
            part10.parse(content)


@given(changes, st.integers(0, 300))
def test_jpeg(at: list[tuple[int, int]], end: int) -> None:
    frame = b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00"
    whole = (
        b"\xff\xd8\xff\xe0\x00\x04ab" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(80) + b"\xff\xd9"
    )
    for content in (changed(whole, at), whole[:end], whole[:end] * 3):
        with suppress(Refused):
            jpeg.parse(content)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4), changes)
def test_dicomdir(tmp_path_factory: pytest.TempPathFactory, names: list[bytes], at: list[tuple[int, int]]) -> None:
    folder = tmp_path_factory.mktemp("medium")
    elements = Elements()
    records = [elements.element(0x00041500, "CS", name) for name in names]
    meta = elements.element(0x00020010, "UI", SYNTAXES[0].encode())
    whole = bytes(128) + b"DICM" + elements.element(0x00020000, "UL", struct.pack("<L", len(meta))) + meta
    whole += elements.sequence(0x00041220, records)
    for content in (whole, changed(whole, at)):
        (folder / "DICOMDIR").write_bytes(content)
        with suppress(Refused):
            assert list(medium.objects_of(folder)) == [], "no name of a DICOMDIR becomes a path"


values = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30)), max_size=6)


@given(values, changes, st.integers(0, 300))
def test_presentation_data_values(sent: list[tuple[int, int, bytes]], at: list[tuple[int, int]], end: int) -> None:
    whole = bytes(6) + b"".join(pdv(*one) for one in sent)
    found = [(one.presentation_context_id, bytes(one.presentation_data_value)) for one in _items(memoryview(whole))]
    assert found == [(number, bytes([control]) + content) for number, control, content in sent]
    for content in (changed(whole, at), whole[:end]):
        with suppress(ValueError):
            taken = [len(one.presentation_data_value) for one in _items(memoryview(content))]
            assert sum(taken) + 5 * len(taken) == max(0, len(content) - 6)


@pytest.mark.parametrize("made", [objects.made, pdus.made, lambda number: requests.made(number, "TOKEN")])
def test_each_can_be_made_again(made: Callable[[int], object]) -> None:
    first = list(itertools.islice(map(made, itertools.count(7)), 60))
    assert first == [made(number) for number in range(7, 67)]


def test_each_is_another() -> None:
    assert len({objects.made(number).dataset for number in range(260)}) > 250
