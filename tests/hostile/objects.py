"""Hostile data sets, by kind: each is made from a seed alone, so that whatever breaks can be made again."""

import importlib.util
import random
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from producers import part10
from producers.errors import Refused
from tests.hostile.elements import PIXELS, UNDEFINED, Elements

MARK = "Zwyrtek7741"
"""Stands in whatever could be quoted; no log may hold it."""
ENCAPSULATED = (JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless)
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
SYNTAXES = (*PLAIN, DeflatedExplicitVRLittleEndian, *ENCAPSULATED)
LARGEST_SAMPLE = 100_000
MIB = 1 << 20
TEXTS = (
    f"../../../../tmp/{MARK}",
    f"/etc/cron.d/{MARK}",
    f"C:\\Windows\\{MARK}",
    f"$(touch /tmp/{MARK})",
    f"`id`;{MARK}|sh",
    f"'; drop table diagnosis; -- {MARK}",
    f"{MARK}\r\nSet-Cookie: x=y",
    f"\x1b[2J\x1b]0;{MARK}\x07",
    f"%n%s%x{MARK}" * 8,
    f"{{0.__class__}}{MARK}",
    f"\x00\x00{MARK}",
    MARK * 2000,
    "1.2." * 30 + MARK,
    f"\ufeff\u202e{MARK}",
)
REGION, COMMENTS = 0x00082218, 0x00204000
TEXT_TAGS = {
    0x00080005: "CS",
    0x00080018: "UI",
    0x00080060: "CS",
    0x00080050: "SH",
    0x00081030: "LO",
    0x00080020: "DA",
    0x00100010: "PN",
    0x00100020: "LO",
    0x00100030: "DA",
    0x00180015: "CS",
    0x00185101: "CS",
    0x0020000D: "UI",
    0x0020000E: "UI",
    0x00200011: "IS",
    COMMENTS: "LT",
    0x00280004: "CS",
    0x00281050: "DS",
    0x00280008: "IS",
}


@dataclass(frozen=True)
class Thing:
    """A data set that nobody should have to read."""

    kind: str
    dataset: bytes
    syntax: UID


Maker = Callable[[random.Random], tuple[bytes, UID]]


def made(number: int) -> Thing:
    """The hostile data set of this number; kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    dataset, syntax = KINDS[kind](random.Random(number))
    return Thing(kind, dataset, syntax)


@cache
def samples() -> Sequence[tuple[bytes, UID]]:
    """Data sets of the files that pydicom and pydicom-data carry."""
    found: list[tuple[bytes, UID]] = []
    for package, folder in (("pydicom", "data/test_files"), ("data_store", "data")):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for path in sorted((Path(spec.origin).parent / folder).rglob("*.dcm")):
            if path.stat().st_size <= LARGEST_SAMPLE:
                try:
                    file = part10.parse(path.read_bytes())
                except Refused:
                    continue
                found.append((file.dataset, UID(file.transfer_syntax)))
    assert len(found) > 50, "pydicom-data is not installed"
    return found


def _base(rng: random.Random) -> tuple[bytes, UID]:
    """A good object: one of ours, or a real one."""
    if rng.random() < 0.5:
        syntax = rng.choice(PLAIN)
        region = Elements(syntax).sequence(REGION, [Elements(syntax).element(0x00080104, "LO", MARK.encode())])
        return Elements(syntax).image({REGION: region}, edge=32, uid=uid_of(rng)), syntax
    return rng.choice(samples())


def uid_of(rng: random.Random) -> str:
    return f"2.25.{rng.getrandbits(120)}"


def _noise(rng: random.Random) -> tuple[bytes, UID]:
    return rng.randbytes(rng.choice((0, 1, 7, 8, 132, 5000))), rng.choice(SYNTAXES)


def _flips(rng: random.Random) -> tuple[bytes, UID]:
    dataset, syntax = _base(rng)
    changed = bytearray(dataset)
    for _ in range(rng.choice((1, 2, 8, 64))):
        # Most of what can be misread is in the header.
        changed[rng.randrange(len(changed) if rng.random() < 0.3 else min(2000, len(changed)))] = rng.randrange(256)
    return bytes(changed), syntax


def _cut_off(rng: random.Random) -> tuple[bytes, UID]:
    dataset, syntax = _base(rng)
    return dataset[: rng.randrange(len(dataset))], syntax


def _spliced(rng: random.Random) -> tuple[bytes, UID]:
    (first, syntax), (second, _) = _base(rng), _base(rng)
    at, start = rng.randrange(len(first)), rng.randrange(len(second))
    return first[:at] + second[start : start + rng.randrange(4000)] + first[at:], syntax


def _heads(dataset: bytes) -> list[int]:
    """Where explicit heads begin, as far as a look at the bytes can tell."""
    return [found.start() for found in re.finditer(rb"[\x08\x10\x18\x20\x28\xe0]\x00..[A-Z]{2}", dataset, re.DOTALL)]


def _lying_lengths(rng: random.Random) -> tuple[bytes, UID]:
    dataset = bytearray(Elements().image({REGION: Elements().sequence(REGION, [b""])}, edge=32, uid=uid_of(rng)))
    for at in rng.sample(_heads(dataset), rng.choice((1, 2, 5))):
        lie = rng.choice((1, 3, 7, 0xFFFF, 0x7FFF, rng.randrange(65536)))
        if dataset[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN"):
            struct.pack_into("<L", dataset, at + 8, rng.choice((lie, UNDEFINED, 0xFFFFFFFE, 0x80000000)))
        else:
            struct.pack_into("<H", dataset, at + 6, lie)
    return bytes(dataset), ExplicitVRLittleEndian


def _wrong_vrs(rng: random.Random) -> tuple[bytes, UID]:
    dataset = bytearray(Elements().image({REGION: Elements().sequence(REGION, [b""])}, edge=32, uid=uid_of(rng)))
    vrs = (b"SQ", b"UN", b"OB", b"OW", b"UI", b"PN", b"DS", b"AT", b"FD", b"SV", b"ZZ", b"??", b"\0\0", b"UT", b"TM")
    for at in rng.sample(_heads(dataset), rng.choice((1, 2, 5))):
        dataset[at + 4 : at + 6] = rng.choice(vrs)
    return bytes(dataset), ExplicitVRLittleEndian


def _nested(rng: random.Random) -> tuple[bytes, UID]:
    syntax = rng.choice(PLAIN)
    elements, levels, style = Elements(syntax), rng.choice((8, 31, 33, 100, 3000)), rng.randrange(3)
    if style == 0:  # without any end
        content = (elements.head(REGION, "SQ", UNDEFINED) + elements.mark(0xE000, UNDEFINED)) * levels
    else:
        content = elements.element(0x00283006, "OW", rng.randbytes(rng.choice((2, 20_000))))
        for _ in range(levels if levels < 1000 else 300):
            content = elements.sequence(REGION, [content], undefined=style == 1)
    return elements.image({REGION: content}, uid=uid_of(rng)), syntax


def _crowded(rng: random.Random) -> tuple[bytes, UID]:
    """Thousands of items or elements; now and then far too many."""
    syntax, count = rng.choice(PLAIN), rng.choices((500, 3000, 30_000, 600_000), (60, 34, 4, 2))[0]
    elements = Elements(syntax)
    match rng.randrange(4):
        case 0:
            changes = {REGION: elements.sequence(REGION, [b""] * count, undefined=rng.random() < 0.5)}
        case 1:
            changes = {0x00091000: b"".join(elements.element(0x00091000 + n, "LO", b"") for n in range(count))}
        case 2:
            people = [elements.element(0x00100020, "LO", f"{MARK}{n}".encode()) for n in range(min(count, 3000))]
            changes = {0x00101002: elements.sequence(0x00101002, people)}
        case _:
            values = b"\\".join([b"1"] * min(count, 30_000))
            changes = {0x00181150: elements.element(0x00181150, "IS", values)}
    return elements.image(changes, uid=uid_of(rng)), syntax


def _fragments(rng: random.Random) -> tuple[bytes, UID]:
    syntax = rng.choice(ENCAPSULATED)
    elements = Elements(syntax)
    pieces = [rng.randbytes(rng.choice((0, 2, 7, 600))) for _ in range(rng.choice((0, 1, 3, 200)))]
    offsets = rng.choice((b"", b"\0" * 3, struct.pack("<4L", 0, UNDEFINED, 1, 0x7FFFFFFF), rng.randbytes(400)))
    pixels = bytearray(elements.fragments(pieces, offsets))
    match rng.randrange(5):
        case 0:
            del pixels[-8:]
        case 1:
            struct.pack_into("<L", pixels, 16, rng.choice((UNDEFINED, 0xFFFFFFFE, 3, len(pixels))))
        case 2:
            pixels[12:14] = rng.randbytes(2)
        case 3:
            del pixels[rng.randrange(12, len(pixels)) :]
    changes = {PIXELS: bytes(pixels), 0x00280008: elements.element(0x00280008, "IS", rng.choice((b"1", b"3", b"-1")))}
    return elements.image(changes, uid=uid_of(rng)), syntax


def _absurd_pixels(rng: random.Random) -> tuple[bytes, UID]:
    """An image module that its pixels do not fill, or that nobody could hold."""
    elements, syntax = Elements(), rng.choice((ExplicitVRLittleEndian, *ENCAPSULATED))
    extremes = (0, 1, 2, 3, 7, 32, 255, 32768, 65535)
    tags = (0x00280002, 0x00280006, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
    changes = {tag: elements.number(tag, rng.choice(extremes)) for tag in rng.sample(tags, rng.choice((1, 2, 4)))}
    frames = rng.choice((b"1", b"0", b"-5", b"2147483647", b"99999999999", b"1e9", b"x"))
    changes[0x00280008] = elements.element(0x00280008, "IS", frames)
    colours = (b"MONOCHROME1", b"PALETTE COLOR", b"RGB", b"YBR_FULL_422", b"YBR_RCT", b"CMYK", b"", MARK.encode())
    changes[0x00280004] = elements.element(0x00280004, "CS", rng.choice(colours))
    slopes = (b"1e308", b"-1e-308", b"NaN", b"inf", b"0", b"1\\2\\3", b"0x10")
    changes[0x00281053] = elements.element(0x00281053, "DS", rng.choice(slopes))
    changes[0x00281051] = elements.element(0x00281051, "DS", rng.choice(slopes))
    if syntax != ExplicitVRLittleEndian:
        changes[PIXELS] = elements.fragments([rng.randbytes(200)])
    return elements.image(changes, edge=16, uid=uid_of(rng)), syntax


def _bombs(rng: random.Random) -> tuple[bytes, UID]:
    """Few bytes that want to be many."""
    elements, edge = Elements(), rng.choice((4000, 16_000, 65_535))
    sides = {0x00280010: elements.number(0x00280010, edge), 0x00280011: elements.number(0x00280011, edge)}
    side = struct.pack(">H", edge)
    match rng.randrange(5):
        case 0:
            size = rng.choices((1, 12, 24, 80), (60, 25, 10, 5))[0] * MIB
            plain = elements.image(pixels=bytes(size), uid=uid_of(rng))
            return zlib.compress(plain, wbits=-zlib.MAX_WBITS), DeflatedExplicitVRLittleEndian
        case 1:
            run = b"\x81\x00" * rng.choice((1000, 100_000))  # 128 zeros each (PS3.5 section G.3)
            head = struct.pack("<16L", 1, 64, *[0] * 14)
            return elements.image(sides | {PIXELS: elements.fragments([head + run])}, uid=uid_of(rng)), RLELossless
        case 2:
            stream = b"\xff\xd8\xff\xc0\x00\x0b\x08" + 2 * side + b"\x01\x01\x11\x00"
            stream += b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(64) + b"\xff\xd9"
            return elements.image(sides | {PIXELS: elements.fragments([stream])}, uid=uid_of(rng)), JPEGBaseline8Bit
        case 3:
            size = (
                struct.pack(">HLLLLLLLLH", 0, edge, edge, 0, 0, rng.choice((1, edge)), edge, 0, 0, 1) + b"\x07\x01\x01"
            )
            stream = b"\xff\x4f\xff\x51" + struct.pack(">H", 2 + len(size)) + size + rng.randbytes(60) + b"\xff\xd9"
            return elements.image(sides | {PIXELS: elements.fragments([stream])}, uid=uid_of(rng)), JPEG2000Lossless
    frames = {0x00280008: elements.element(0x00280008, "IS", b"100000")}
    return elements.image(sides | frames, pixels=bytes(1000), uid=uid_of(rng)), ExplicitVRLittleEndian


def _texts(rng: random.Random) -> tuple[bytes, UID]:
    """Paths, commands, control characters and endless values, in UIDs as in names."""
    syntax = rng.choice(PLAIN)
    elements = Elements(syntax)
    changes = {}
    for tag in rng.sample(list(TEXT_TAGS), rng.choice((1, 2, 6))):
        value = rng.choice(TEXTS).encode(rng.choice(("utf-8", "utf-16-le")))
        changes[tag] = elements.element(tag, TEXT_TAGS[tag], value[: 60_000 if syntax.is_implicit_VR else 65_000])
    return elements.image({0x00080018: elements.element(0x00080018, "UI", uid_of(rng).encode())} | changes), syntax


def _character_sets(rng: random.Random) -> tuple[bytes, UID]:
    sets = (b"ISO_IR 192", b"\\ISO 2022 IR 87", b"GB18030", b"\\".join([b"ISO 2022 IR 149"] * 50), b"utf-16", b"idna")
    escapes = (b"\x1b$B", b"\x1b(J", b"\x1b$)C", b"\x1b\x1b\x1b", b"\xff\xfe", b"\xc3\x28", b"\xf0\x9f", b"\x80")
    name = b"".join(rng.choice((*escapes, MARK.encode(), b"^", b"=", b"\\")) for _ in range(rng.choice((3, 30, 3000))))
    changes = {
        0x00080005: Elements().element(0x00080005, "CS", rng.choice(sets)),
        0x00100010: Elements().element(0x00100010, "PN", name[:64_000]),
    }
    return Elements().image(changes, edge=16, uid=uid_of(rng)), ExplicitVRLittleEndian


KINDS: Mapping[str, Maker] = {
    "noise": _noise,
    "changed bytes": _flips,
    "cut off": _cut_off,
    "spliced": _spliced,
    "lying lengths": _lying_lengths,
    "wrong VRs": _wrong_vrs,
    "nested sequences": _nested,
    "crowded headers": _crowded,
    "fragments": _fragments,
    "absurd pixels": _absurd_pixels,
    "bombs": _bombs,
    "hostile text": _texts,
    "character sets": _character_sets,
}
