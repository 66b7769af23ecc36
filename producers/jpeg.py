"""JPEG streams (ISO/IEC 10918-1), taken apart at their markers without decoding a pixel.

Cameras write the patient's file number, the place, serial numbers and a smaller copy of the picture into application
segments and comments, and whole films behind the end of the image. None of that is needed to decode it.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from producers.errors import BrokenObject

SOI: Final = b"\xff\xd8"
_BASELINE = 0xC0
_DHT, _JPG, _DAC, _EOI, _SOS, _DQT, _DNL, _DRI, _APP0, _APP14 = (
    *(0xC4, 0xC8, 0xCC, 0xD9, 0xDA, 0xDB),
    *(0xDC, 0xDD, 0xE0, 0xEE),
)
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {_DHT, _JPG, _DAC}
_KEPT: Final = _FRAMES | {_DHT, _DAC, _SOS, _DQT, _DRI}
#: Application segments and comments (section B.1.1.3): metadata.
_METADATA: Final = frozenset(range(0xE0, 0xF0)) | {0xFE}
#: What ends entropy-coded data: a marker that is neither a stuffed zero, nor a restart, nor a fill byte.
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_RGB_IDS: Final = b"RGB"


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A JPEG image.

    Attributes:
        stream: the image without metadata; quantisation, Huffman tables and entropy-coded data as they came.
        is_baseline: 8 bits, Huffman-coded, sequential: what the transfer syntax JPEG Baseline carries.
        rows, columns: its size in pixels.
        components: samples per pixel.
        is_ycc: whether three components are YCbCr.
    """

    stream: bytes
    is_baseline: bool
    rows: int
    columns: int
    components: int
    is_ycc: bool


def parse(content: bytes) -> Jpeg:
    """The first image in the content of a file.

    Raises:
        BrokenObject: it is no JPEG image, or cut off.
    """
    segments = list(_segments(content))
    frames = [(marker, payload) for marker, payload, _ in segments if marker in _FRAMES]
    if len(frames) != 1:
        raise BrokenObject(f"the JPEG has {len(frames)} frame headers instead of one")
    ((marker, frame),) = frames
    try:
        precision, rows, columns, components = struct.unpack_from(">BHHB", frame)
    except struct.error:
        raise BrokenObject("the JPEG's frame header is cut off") from None
    if not rows or not columns:
        raise BrokenObject("the JPEG does not say how large it is")
    kept = b"".join(_written(marker, payload, data) for marker, payload, data in segments)
    is_baseline = marker == _BASELINE and precision == 8
    return Jpeg(SOI + kept + b"\xff\xd9", is_baseline, rows, columns, components, _is_ycc(segments, frame))


_Segment = tuple[int, bytes, bytes]
"""A marker, its segment's payload, and the entropy-coded data behind it."""


def _segments(content: bytes) -> Iterator[_Segment]:
    if not content.startswith(SOI):
        raise BrokenObject("not a JPEG")
    at = len(SOI)
    while (found := _MARKER.match(content, at)) is not None:
        marker = found[1][0]
        if marker == _EOI:
            return
        if marker not in _KEPT | _METADATA:
            raise BrokenObject(f"the JPEG has a marker FF{marker:02X}, which is not read")
        start = found.end()
        end = start + int.from_bytes(content[start : start + 2], "big")
        if end < start + 2 or end > len(content):
            break
        following = _MARKER.search(content, end) if marker == _SOS else None
        at = following.start() if following is not None else end
        yield marker, content[start + 2 : end], content[end:at]
    raise BrokenObject("the JPEG is broken or cut off")


def _written(marker: int, payload: bytes, data: bytes) -> bytes:
    """The segment as it is kept: without the thumbnail, where it has one; nothing of metadata."""
    if _is_jfif(marker, payload):
        payload = payload[:12] + b"\0\0"
    elif _is_adobe(marker, payload):
        payload = payload[:12]
    elif marker in _METADATA:
        return b""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload + data


def _is_jfif(marker: int, payload: bytes) -> bool:
    return marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14


def _is_adobe(marker: int, payload: bytes) -> bool:
    return marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12


def _is_ycc(segments: list[_Segment], frame: bytes) -> bool:
    """Adobe's segment says it; JFIF is always YCbCr (ISO/IEC 10918-5); else the components' names tell."""
    for marker, payload, _ in segments:
        if _is_adobe(marker, payload):
            return payload[11] == 1
    return any(_is_jfif(marker, payload) for marker, payload, _ in segments) or frame[6::3][:3] != _RGB_IDS
