"""JPEG streams without what cameras write around them."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from producers import jpeg
from producers.errors import BrokenObject

Picture = Callable[..., bytes]


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def _pixels(content: bytes) -> bytes:
    with Image.open(BytesIO(content)) as image:
        return image.tobytes()


def test_nothing_but_the_image_is_kept(picture: Picture) -> None:
    plain = picture(quality=90)
    metadata = b"".join(_segment(marker, b"Kowalska " * 9) for marker in (*range(0xE0, 0xF0), 0xFE))
    thumbnail = _segment(0xE0, b"JFXX\0\x10Kowalska")
    content = plain[:2] + metadata + thumbnail + plain[2:] + b"Kowalska, a film behind the end"
    parsed = jpeg.parse(content)
    assert b"Kowalska" in content
    assert b"Kowalska" not in parsed.stream
    assert parsed.stream == plain
    assert _pixels(parsed.stream) == _pixels(plain)


def test_the_thumbnail_of_jfif_goes(picture: Picture) -> None:
    plain = picture()
    at = plain.index(b"JFIF") - 4
    header = _segment(0xE0, plain[at + 4 : at + 16] + b"\x02\x01Kowalska")
    parsed = jpeg.parse(plain[:2] + header + plain[at + 18 :])
    assert parsed.stream == plain


@pytest.mark.parametrize(
    ("options", "baseline"), [({}, True), ({"progressive": True}, False), ({"subsampling": 0, "quality": 100}, True)]
)
def test_its_process_and_size(picture: Picture, options: dict[str, object], baseline: bool) -> None:
    parsed = jpeg.parse(picture(**options))
    assert (parsed.is_baseline, parsed.rows, parsed.columns, parsed.components) == (baseline, 24, 32, 3)
    assert parsed.is_ycc


def test_grey_has_one_component(picture: Picture) -> None:
    assert jpeg.parse(picture(pixels=np.zeros((8, 8), np.uint8))).components == 1


def test_rgb_is_told_from_ycc(picture: Picture) -> None:
    rgb = picture(keep_rgb=True)
    assert not jpeg.parse(rgb).is_ycc
    assert _pixels(jpeg.parse(rgb).stream) == _pixels(rgb)


@pytest.mark.parametrize("end", [0, 1, 2, 10, 200, -1, -2])
def test_one_that_is_cut_off_is_refused(picture: Picture, end: int) -> None:
    with pytest.raises(BrokenObject):
        jpeg.parse(picture()[:end])


def test_one_with_two_frames_or_none_is_refused(picture: Picture) -> None:
    plain = picture()
    at = plain.index(b"\xff\xc0")
    frame = plain[at : at + 19]
    for content in (plain.replace(frame, frame * 2), plain.replace(frame, b"")):
        with pytest.raises(BrokenObject, match="frame headers"):
            jpeg.parse(content)


def test_one_without_lines_is_refused(picture: Picture) -> None:
    plain = picture()
    at = plain.index(b"\xff\xc0") + 5
    with pytest.raises(BrokenObject, match="how large"):
        jpeg.parse(plain[:at] + b"\0\0" + plain[at + 2 :])


@given(st.binary(max_size=300))
def test_noise_is_refused_in_words(noise: bytes) -> None:
    for content in (noise, b"\xff\xd8" + noise, b"\xff\xd8\xff\xc0" + noise):
        try:
            jpeg.parse(content)
        except BrokenObject:
            continue
