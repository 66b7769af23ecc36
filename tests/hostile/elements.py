"""Data elements byte by byte (PS3.5 section 7), well-formed and not, so that no library decides what can be written."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

UNDEFINED = 0xFFFFFFFF
PIXELS = 0x7FE00010
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})


@dataclass(frozen=True)
class Elements:
    """Writes elements in one encoding."""

    syntax: UID = ExplicitVRLittleEndian

    @property
    def order(self) -> str:
        return "<" if self.syntax.is_little_endian else ">"

    def head(self, tag: int, vr: str, length: int) -> bytes:
        """Tag, VR and any length, whatever follows."""
        start = struct.pack(f"{self.order}HH", tag >> 16, tag & 0xFFFF)
        if self.syntax.is_implicit_VR:
            return start + struct.pack(f"{self.order}L", length)
        if vr in LONG:
            return start + vr.encode() + struct.pack(f"{self.order}HL", 0, length)
        return start + vr.encode() + struct.pack(f"{self.order}H", length & 0xFFFF)

    def element(self, tag: int, vr: str, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return self.head(tag, vr, len(value)) + value

    def mark(self, element: int, length: int = 0) -> bytes:
        """An item's beginning (E000) or end (E00D), or a sequence's end (E0DD)."""
        return struct.pack(f"{self.order}HHL", 0xFFFE, element, length)

    def sequence(self, tag: int, items: Sequence[bytes], *, undefined: bool = False) -> bytes:
        if undefined:
            content = b"".join(self.mark(0xE000, UNDEFINED) + item + self.mark(0xE00D) for item in items)
            return self.head(tag, "SQ", UNDEFINED) + content + self.mark(0xE0DD)
        content = b"".join(self.mark(0xE000, len(item)) + item for item in items)
        return self.head(tag, "SQ", len(content)) + content

    def fragments(self, fragments: Sequence[bytes], offsets: bytes = b"") -> bytes:
        """Encapsulated Pixel Data (PS3.5 section A.4)."""
        pieces = (self.mark(0xE000, len(piece)) + piece for piece in (offsets, *fragments))
        return self.head(PIXELS, "OB", UNDEFINED) + b"".join(pieces) + self.mark(0xE0DD)

    def number(self, tag: int, value: int) -> bytes:
        return self.element(tag, "US", struct.pack(f"{self.order}H", value))

    def image(
        self, changes: Mapping[int, bytes] | None = None, *, pixels: bytes | None = None, edge: int = 4, uid: str = ""
    ) -> bytes:
        """A radiograph of 8 bits; `changes` are whole elements that come in place of its own, or besides them."""
        text = {
            (0x00080016, "UI"): ComputedRadiographyImageStorage,
            (0x00080018, "UI"): uid or generate_uid(),
            (0x00080060, "CS"): "CR",
            (0x00100010, "PN"): "Doe^Jane",
            (0x00100020, "LO"): "MRN-4711",
            (0x00180015, "CS"): "CHEST",
            (0x0020000D, "UI"): "1.2.3.4.5.6",
            (0x0020000E, "UI"): "1.2.3.4.5.7",
            (0x00280004, "CS"): "MONOCHROME2",
        }
        numbers = {
            0x00280002: 1,
            0x00280010: edge,
            0x00280011: edge,
            0x00280100: 8,
            0x00280101: 8,
            0x00280102: 7,
            0x00280103: 0,
        }
        written = {tag: self.element(tag, vr, value.encode()) for (tag, vr), value in text.items()}
        written |= {tag: self.number(tag, value) for tag, value in numbers.items()}
        content = (bytes(range(256)) * (edge * edge // 256 + 1))[: edge * edge] if pixels is None else pixels
        written[PIXELS] = self.element(PIXELS, "OB", content)
        return b"".join(content for _, content in sorted((written | dict(changes or {})).items()))
