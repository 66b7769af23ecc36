"""One file and no log: what cannot be read gets a reason, never a traceback."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from models.bundle import load_bundle
from schemas.events import DiagnosisStatus
from stream_processors.oneoff import predict_file


class Unasked:
    """A network that must not be reached."""

    def __init__(self) -> None:
        self.bundle = load_bundle("default")

    def predict(self, pixels):
        raise AssertionError("the network was asked")


@pytest.fixture(scope="module")
def engine():
    return Unasked()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file (ISO/IEC 15948, 5.3)."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**16, 2**16, 8, 0, 0, 0, 0))
#: A PNG that claims 2**32 grey pixels, more than OpenCV agrees to read.
HUGE = b"\x89PNG\r\n\x1a\n" + HEADER + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "A.PNG"])
@pytest.mark.parametrize("content", [b"", b"no picture", HUGE], ids=["empty", "text", "huge"])
def test_what_is_no_picture_is_said_in_words(engine, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    answer = predict_file(engine, path)
    assert answer.failed
    assert answer.reason == "the file is not the picture that its name says"


@pytest.mark.parametrize("name", ["a.dcm", "gone.jpg", "gone.dcm"])
def test_what_cannot_be_read_is_said_in_words(engine, tmp_path, name):
    (tmp_path / "a.dcm").write_bytes(b"")
    answer = predict_file(engine, tmp_path / name)
    assert answer.failed
    assert len(answer.reason) > 10


def test_a_blank_picture_is_out_of_scope(engine, tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((64, 64), 90, np.uint8))
    answer = predict_file(engine, tmp_path / "blank.png")
    assert answer.status is DiagnosisStatus.OUT_OF_SCOPE
