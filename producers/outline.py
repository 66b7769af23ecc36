"""How much a header unfolds to, told before pydicom makes objects of it.

A few bytes can be far more in memory, and in time: an empty item takes 8 bytes of a data set and 1,500 of memory, and a
value in nested sequences is copied once a level. No limit on received bytes bounds that, so elements, items, levels and
copies are counted first: what pydicom would read, and of a malformed sequence the most that it could be.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from producers.errors import TooLarge
from producers.pixel_data import Encoding
from producers.profile import standard_vrs
from radiolog.settings import MIB

#: Functional groups of some thousand frames, and the contours of a treatment plan, are a tenth of it.
MAX_ELEMENTS: Final = 500_000
#: Structured reports nest the deepest, by a dozen levels.
MAX_DEPTH: Final = 32
#: What sequences within sequences hold together is at most so many times the data set, where it is much at all.
MAX_COPIES: Final = 4
SMALL_BYTES: Final = 64 * MIB
#: From here on an object is heavy: it takes a hundred megabytes or seconds.
MANY_ELEMENTS: Final = 20_000

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_VR: Final = re.compile(rb"[A-Z]{2}")
_LONG: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)


class Outline:
    """Counts what is in a data set, element by element at its top, and all that is in a sequence as it is met.

    Args:
        dataset: as received, inflated.
        encoding: of it.
        on_heavy: called once, when there turns out to be much.
    """

    def __init__(self, dataset: bytes, encoding: Encoding, on_heavy: Callable[[], None]) -> None:
        self._dataset = dataset
        self._implicit = encoding.implicit_vr
        self._head = struct.Struct(f"{encoding.order}HHL")
        self._short = struct.Struct(f"{encoding.order}H")
        self._long = struct.Struct(f"{encoding.order}L")
        self._on_heavy = on_heavy
        self._is_heavy = False
        self._copied = 0
        #: And items, so far.
        self.elements = 0

    def add(self, tag: BaseTag, vr: str | None, at: int, length: int) -> None:
        """Counts an element whose value is at `at`, and what is in it.

        Raises:
            TooLarge: it is too much by now.
        """
        self._count(1)
        end = None if length == _UNDEFINED else at + length
        if not self._is_sequence(tag, vr.encode() if vr is not None else None, at, end):
            return
        try:
            self._walk(_Level(True, end, self._implicit), at)
        except (_Malformed, struct.error):
            # How pydicom reads it is anyone's guess: as many elements as have room, each within the one before.
            size = min(length, len(self._dataset) - at)
            self._count(size // 8)
            self._copy(size * size // 40)

    def _count(self, more: int) -> None:
        self.elements += more
        if self.elements > MAX_ELEMENTS:
            raise TooLarge(f"the header has more than {MAX_ELEMENTS} elements and items")
        if self.elements > MANY_ELEMENTS:
            self._become_heavy()

    def _copy(self, count: int) -> None:
        self._copied += count
        if self._copied > SMALL_BYTES:
            if self._copied > MAX_COPIES * len(self._dataset):
                raise TooLarge(f"sequences within sequences hold {MAX_COPIES} times what the data set holds")
            self._become_heavy()

    def _become_heavy(self) -> None:
        if not self._is_heavy:
            self._is_heavy = True
            self._on_heavy()

    def _walk(self, sequence: "_Level", at: int) -> None:
        """Counts the items of a sequence that is well-formed, and all that is in them, without recursion."""
        levels = [sequence]
        while levels:
            level = levels[-1]
            if at == level.end:
                levels.pop()
            elif level.end is not None and at > level.end:
                raise _Malformed
            elif level.is_sequence:
                at = self._enter_item(level, at, levels)
            else:
                at = self._pass_element(level, at, levels)

    def _enter_item(self, sequence: "_Level", at: int, levels: list["_Level"]) -> int:
        group, element, length = self._head.unpack_from(self._dataset, at)
        at, tag = at + 8, group << 16 | element
        if tag == _SEQUENCE_END and sequence.end is None:
            levels.pop()
            return at
        if tag != _ITEM:
            raise _Malformed
        self._count(1)
        # Some writers change to implicit VR within sequences; the first element shows it.
        implicit = sequence.implicit or not _VR.match(self._dataset, at + 4)
        levels.append(_Level(False, self._end(at, length), implicit))
        return at

    def _pass_element(self, item: "_Level", at: int, levels: list["_Level"]) -> int:
        tag, vr, length, at = self._element(at, item.implicit)
        if tag == _ITEM_END and item.end is None:
            levels.pop()
            return at
        if tag >> 16 == _ITEM >> 16:
            raise _Malformed
        self._count(1)
        end = self._end(at, length)
        if self._is_sequence(tag, vr, at, end):
            if len(levels) >= 2 * MAX_DEPTH:
                raise TooLarge(f"sequences are nested more than {MAX_DEPTH} deep")
            self._copy(0 if end is None else length)
            levels.append(_Level(True, end, item.implicit))
            return at
        return end if end is not None else self._fragments_end(at)

    def _element(self, at: int, implicit: bool) -> tuple[int, bytes | None, int, int]:
        """Tag, declared VR, length, and where the value is, of the element at `at`."""
        group, element, length = self._head.unpack_from(self._dataset, at)
        tag, vr = group << 16 | element, self._dataset[at + 4 : at + 6]
        if implicit or not b"AA" <= vr <= b"ZZ" or tag == _ITEM_END:
            return tag, None, length, at + 8
        if vr not in _LONG:
            return tag, vr, self._short.unpack_from(self._dataset, at + 6)[0], at + 8
        return tag, vr, self._long.unpack_from(self._dataset, at + 8)[0], at + 12

    def _end(self, at: int, length: int) -> int | None:
        if length == _UNDEFINED:
            return None
        if at + length > len(self._dataset):
            raise _Malformed
        return at + length

    def _fragments_end(self, at: int) -> int:
        while True:
            group, element, length = self._head.unpack_from(self._dataset, at)
            at, tag = at + 8, group << 16 | element
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM or length == _UNDEFINED:
                raise _Malformed
            at += length

    def _is_sequence(self, tag: int, vr: bytes | None, at: int, end: int | None) -> bool:
        """Whether pydicom reads the element as a sequence, now or when its value is asked for."""
        if vr not in {None, b"UN"}:
            return vr == b"SQ"
        if end is not None or (vr is None and standard_vrs(Tag(tag))):
            return "SQ" in standard_vrs(Tag(tag))
        return vr is not None or self._head.unpack_from(self._dataset, at)[:2] == (_ITEM >> 16, _ITEM & 0xFFFF)


@dataclass(frozen=True, slots=True)
class _Level:
    """A sequence or an item that is open: where it ends, if that is known, and how its elements are written."""

    is_sequence: bool
    end: int | None
    implicit: bool


class _Malformed(Exception):
    """Lengths and delimiters contradict each other."""
