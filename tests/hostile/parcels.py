"""Hostile files for the folder adapter, by kind: what a device, or who has its share, may drop."""

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian

from tests.hostile import objects
from tests.hostile.elements import Elements
from tests.hostile.objects import MARK

Maker = Callable[[random.Random, Path], None]
NAMES = (
    f"$(touch {MARK}).dcm",
    f"{MARK}\n.dcm",
    f"-rf {MARK}.dcm",
    f"..{MARK}",
    f"\x1b[2J{MARK}.dcm",
    f"{'x' * 240}.dcm",
)
SIDECAR = {
    "version": 1,
    "patient": {"id": MARK},
    "modality": "XC",
    "acquired_at": "2026-05-01T10:30:00+02:00",
    "device": {"manufacturer": "A", "model": "B", "serial_number": "C"},
    "burned_in_annotation": False,
    "body_part": "SKIN",
    "laterality": "L",
}


def drop(number: int, inbox: Path) -> str:
    """Drops the hostile parcel of this number, by rename where it is more than one write; gives its kind."""
    kind = list(KINDS)[number % len(KINDS)]
    place = inbox / f"{number:05}"
    place.mkdir()
    KINDS[kind](random.Random(number), place)
    return kind


def _file(rng: random.Random, place: Path) -> None:
    thing = objects.made(rng.randrange(1 << 20) + 2_000_000)
    (place / rng.choice(NAMES)).write_bytes(bytes(128) + b"DICM" + thing.dataset)


def _archive(rng: random.Random, place: Path) -> None:
    names = (
        f"../../{MARK}.dcm",
        f"/tmp/{MARK}.dcm",
        f"C:\\{MARK}.dcm",
        f"{MARK}\0.dcm",
        "a/" * 200 + "x",
        f"{MARK}.dcm",
    )
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in rng.sample(names, 3):
            archive.writestr(zipfile.ZipInfo(name), objects.made(rng.randrange(1 << 20) + 3_000_000).dataset)
        if rng.random() < 0.2:
            archive.writestr("bomb.dcm", bytes(40 << 20), zipfile.ZIP_DEFLATED)
    content = bytearray(written.getvalue())
    for _ in range(rng.choice((0, 0, 1, 8))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    (place / f"{MARK}.zip").write_bytes(bytes(content))


def _picture(rng: random.Random, place: Path) -> None:
    side = rng.choice((1, 2000, 30_000, 65_535))
    chunk = struct.pack(">LL", side, side) + bytes([rng.choice((8, 16)), rng.choice((0, 2, 6)), 0, 0, 0])
    data = zlib.compress(bytes(rng.choice((10, 20_000_000))))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in ((b"IHDR", chunk), (b"IDAT", data)))
    jpeg = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", side, side) + b"\x03\x01\x11\0\x02\x11\1\x03\x11\1"
    jpeg += b"\xff\xda\x00\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0" + rng.randbytes(300) + b"\xff\xd9"
    tiff = b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", 0xFFFF) + rng.randbytes(500)
    suffix, content = rng.choice(((".png", png), (".jpg", jpeg), (".tif", tiff), (".jpg", rng.randbytes(300))))
    told = rng.choice(
        (json.dumps(SIDECAR), "[" * 50_000, "{}", json.dumps(SIDECAR | {"modality": MARK}), "\0", '{"a":1e999}')
    )
    (place / f"{MARK}.json").write_text(told)
    (place / f"{MARK}{suffix}").write_bytes(content)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def _medium(rng: random.Random, place: Path) -> None:
    """A DICOMDIR that names what is not on the medium, or is none."""
    elements = Elements(ExplicitVRLittleEndian)
    names = (b"..\\..\\..\\ETC\\PASSWD", b"\\TMP\\" + MARK.encode(), b"IM1", b"..", b"\0", b"A" * 3000)
    records = [elements.element(0x00041500, "CS", rng.choice(names)) for _ in range(rng.choice((0, 1, 500)))]
    content = elements.sequence(0x00041220, records, undefined=rng.random() < 0.5)
    meta = elements.element(0x00020010, "UI", ExplicitVRLittleEndian.encode())
    whole = bytes(128) + b"DICM" + elements.element(0x00020000, "UL", struct.pack("<L", len(meta))) + meta + content
    (place / "IM1").write_bytes(bytes(128) + b"DICM" + elements.image())
    (place / "DICOMDIR").write_bytes(whole[: rng.choice((len(whole), len(whole) // 2))])


def _link(_rng: random.Random, place: Path) -> None:
    """Links are left alone, and so are pipes, which would never end."""
    (place / f"{MARK}.dcm").write_bytes(b"")
    (place / "link.dcm").symlink_to("/etc/passwd")
    (place / "deep").mkdir()
    (place / "deep" / "up").symlink_to(place)


KINDS: Mapping[str, Maker] = {
    "names": _file,
    "archives": _archive,
    "pictures": _picture,
    "media": _medium,
    "links": _link,
}
