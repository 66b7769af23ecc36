"""What a header may unfold to: what is counted, what is refused, and what has to wait for its turn."""

import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filereader import read_sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from producers import intake as intakes
from producers import outline, part10
from producers.dicom_object import SMALL_INFLATED_BYTES, split
from producers.errors import BrokenObject, TooLarge
from producers.identifiers import MAX_TEXTS, Identifiers
from producers.intake import Intake, ReceivedObject
from producers.outline import MANY_ELEMENTS, MAX_DEPTH, Outline
from producers.pixel_data import Encoding
from producers.pseudonyms import Pseudonyms
from producers.refusal import TooMuchAtOnce
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import MIB, Settings
from schemas.events import ImageSource, SourceKind
from tests.hostile.elements import UNDEFINED, Elements

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
REGION, LUT = 0x00082218, 0x00283006
UNCOUNTED = 1000 * MIB


@pytest.fixture(params=SYNTAXES, ids=lambda syntax: syntax.name)
def elements(request: pytest.FixtureRequest) -> Elements:
    return Elements(request.param)


def parsed(elements: Elements, dataset: bytes, on_heavy: Callable[[], None] = lambda: None) -> Dataset:
    return split(dataset, elements.syntax, UNCOUNTED, on_heavy).header


@pytest.mark.parametrize("undefined", [False, True])
def test_levels_are_bounded(elements: Elements, undefined: bool) -> None:
    def nested(levels: int) -> bytes:
        content = elements.element(LUT, "OW", b"12")
        for _ in range(levels):
            content = elements.sequence(REGION, [content], undefined=undefined)
        return elements.image({REGION: content})

    assert REGION in parsed(elements, nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 500):
        with pytest.raises(TooLarge, match="nested"):
            parsed(elements, nested(levels))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """As many elements as are taken; the limit itself takes seconds to reach."""
    monkeypatch.setattr(outline, "MAX_ELEMENTS", 2000)
    return 2000


@pytest.mark.parametrize("undefined", [False, True])
def test_items_are_bounded(elements: Elements, undefined: bool, few: int) -> None:
    with pytest.raises(TooLarge, match=str(few)):
        parsed(elements, elements.image({REGION: elements.sequence(REGION, [b""] * few, undefined=undefined)}))


def test_elements_are_bounded_at_every_level(elements: Elements, few: int) -> None:
    many = b"".join(elements.element(0x00091000 + number, "LO", b"") for number in range(few // 2))
    inside = elements.sequence(REGION, [many + many], undefined=False)
    for content in ({0x00091000: many + many}, {REGION: inside}):
        with pytest.raises(TooLarge, match=str(few)):
            parsed(elements, elements.image(content))


def test_copies_are_bounded(elements: Elements) -> None:
    content = elements.element(LUT, "OW", bytes(16 * MIB))
    for _ in range(8):
        content = elements.sequence(REGION, [content], undefined=False)
    with pytest.raises(TooLarge, match="within sequences"):
        parsed(elements, elements.image({REGION: content}))


def test_who_is_heavy_says_so(elements: Elements) -> None:
    told: list[None] = []
    items = [b""] * (MANY_ELEMENTS - 20)
    parsed(
        elements, elements.image({REGION: elements.sequence(REGION, items, undefined=False)}), lambda: told.append(None)
    )
    assert not told
    parsed(
        elements,
        elements.image({REGION: elements.sequence(REGION, [*items, *[b""] * 20], undefined=True)}),
        lambda: told.append(None),
    )
    assert told == [None]


def test_so_does_what_inflates_to_much() -> None:
    elements, told = Elements(ExplicitVRLittleEndian), list[None]()
    for size, expected in ((SMALL_INFLATED_BYTES // 2, []), (2 * SMALL_INFLATED_BYTES, [None])):
        deflated = zlib.compress(elements.image(pixels=bytes(size)), wbits=-zlib.MAX_WBITS)
        split(deflated, DeflatedExplicitVRLittleEndian, UNCOUNTED, lambda: told.append(None))
        assert told == expected


structures = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(st.lists(inner, max_size=4), max_size=3).map(tuple),
    max_leaves=20,
)


@given(st.sampled_from(SYNTAXES), structures, st.booleans(), st.data())
def test_it_counts_no_less_than_pydicom_reads(syntax: UID, tree: object, undefined: bool, data: st.DataObject) -> None:
    """Also of bytes that were changed."""
    elements = Elements(syntax)
    content = bytearray(_written(elements, ((tree,),), undefined)[8 if syntax.is_implicit_VR else 12 :])
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = UNDEFINED if undefined else len(content)
    counting = Outline(bytes(content), Encoding.of(syntax), lambda: None)
    counting.add(Tag(REGION), "SQ", 0, length)
    try:
        implicit_vr, little_endian = syntax.is_implicit_VR, syntax.is_little_endian
        read = _size(read_sequence(BytesIO(bytes(content)), implicit_vr, little_endian, length, ["latin-1"]))
    except Exception:  # as it may for such bytes; then nothing is kept of them
        return
    assert counting.elements >= read + 1


def _written(elements: Elements, tree: object, undefined: bool) -> bytes:
    """Bytes are a value; a tuple is a sequence, its items lists."""
    if isinstance(tree, bytes):
        return elements.element(0x00080060, "CS", tree)
    assert isinstance(tree, tuple)
    items = [b"".join(_written(elements, one, not undefined) for one in item) for item in tree]
    return elements.sequence(REGION, items, undefined=undefined)


def _size(items: Iterable[Dataset]) -> int:
    """Items, and elements in them at any depth."""
    count = 0
    for item in items:
        elements = [item[tag] for tag in list(item.keys())]
        count += 1 + len(elements) + sum(_size(element.value) for element in elements if element.VR == "SQ")
    return count


def test_many_names_are_too_many(intake: Intake) -> None:
    """Each would be looked for in each value that is kept."""
    elements = Elements()
    people = [elements.element(0x00100020, "LO", b"MRN-%06d" % number) for number in range(MAX_TEXTS + 1)]
    with pytest.raises(TooLarge, match=str(MAX_TEXTS)):
        intake.accept(received(elements.image({0x00101002: elements.sequence(0x00101002, people)})))


def test_what_takes_long_to_search_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    header = Dataset()
    header.PatientID = "MRN-4711"
    identifiers = Identifiers.of(header)
    assert not identifiers.are_in_bytes(bytes(10_000))
    monkeypatch.setattr("producers.identifiers.MOST_SEARCHED", 10_000)
    assert identifiers.are_in_bytes(bytes(10_000))


def test_heavy_objects_wait_for_their_turn(
    settings: Settings, pseudonyms: Pseudonyms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is on its way to the log, others pass, and a second heavy one is to be sent again."""

    class Stuck(MemoryPublisher):
        entered, release = threading.Event(), threading.Event()

        def publish(self, facts: Sequence[Fact]) -> None:
            if not self.entered.is_set():
                self.entered.set()
                assert self.release.wait(30)
            super().publish(facts)

    monkeypatch.setattr(outline, "MANY_ELEMENTS", 100)
    publisher, elements = Stuck(), Elements()
    intake = Intake(publisher, pseudonyms, settings)
    heavy = received(elements.image({REGION: elements.sequence(REGION, [b""] * 100)}))
    first = threading.Thread(target=intake.accept, args=(heavy,))
    first.start()
    assert publisher.entered.wait(30)
    intake.accept(received(elements.image()))
    monkeypatch.setattr(intakes, "TURN_SECONDS", 0.01)
    with pytest.raises(TooMuchAtOnce):
        intake.accept(heavy)
    publisher.release.set()
    first.join(30)
    intake.accept(heavy)


def received(dataset: bytes) -> ReceivedObject:
    source = ImageSource(kind=SourceKind.C_STORE, peer="CT_1", adapter="RADIOLOG")
    return ReceivedObject(dataset, ExplicitVRLittleEndian, source, datetime.now(UTC))


@pytest.mark.parametrize(
    "content",
    [
        b"UN\0\0\xff\xff\xff\xff" + bytes(2 * part10.MAX_META_BYTES),
        b"OB\0\0" + struct.pack("<L", part10.MAX_META_BYTES) + bytes(part10.MAX_META_BYTES) + b"\2\0\3\1OB" + bytes(6),
    ],
    ids=["a sequence", "more than a megabyte"],
)
def test_file_meta_information_is_bounded(content: bytes) -> None:
    with pytest.raises(BrokenObject, match="does not belong"):
        part10.parse(bytes(128) + b"DICM" + b"\2\0\2\1" + content)
