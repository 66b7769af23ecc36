from collections.abc import Callable
from contextlib import suppress

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.data import get_testdata_file
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from models.codecs import CODECS, codestream_shape
from models.pixels import DecodeLimits, NotAnImage, PixelError, PixelErrorCode, decode

MakeDicom = Callable[..., bytes]

ENCODERS: dict[UID, Callable[[np.ndarray], bytes]] = {
    JPEGLossless: lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=4),
    JPEGLosslessSV1: lambda pixels: imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1),
    JPEGLSLossless: lambda pixels: imagecodecs.jpegls_encode(pixels),
    JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", reversible=True),
    HTJ2KLossless: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}

images = arrays.arrays(
    dtype=st.sampled_from([np.uint8, np.uint16]),
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    elements={"min_value": 0},
)


def run_length_encode(pixels: np.ndarray) -> bytes:
    """RLE (PS3.5 annex G) of literal runs only: one segment for each byte of a sample, the highest first."""
    planes = pixels.view(np.uint8).reshape(-1, pixels.dtype.itemsize)[:, ::-1].T
    segments = []
    for plane in planes:
        runs = [plane[at : at + 128].tobytes() for at in range(0, len(plane), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\x80" * (len(segment) % 2))
    offsets = np.zeros(16, "<u4")
    offsets[0] = len(segments)
    offsets[1 : len(segments) + 1] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return offsets.tobytes() + b"".join(segments)


@pytest.mark.parametrize("syntax", [*ENCODERS, RLELossless], ids=lambda uid: uid.name)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=images)
def test_lossless_syntaxes_round_trip(make_dicom: MakeDicom, syntax: UID, pixels: np.ndarray) -> None:
    encoded = ENCODERS.get(syntax, run_length_encode)(pixels)
    image = decode(make_dicom(pixels, transfer_syntax=syntax, encoded=encoded))
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian], ids=lambda uid: uid.name
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.uint32])
def test_native_syntaxes_round_trip(make_dicom: MakeDicom, syntax: UID, dtype: type) -> None:
    bounds = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(bounds.min, bounds.max, (5, 8), dtype=dtype, endpoint=True)
    image = decode(memoryview(make_dicom(pixels, transfer_syntax=syntax)))
    np.testing.assert_array_equal(image.pixels, pixels)
    assert "PixelData" not in image.header
    assert image.photometric == "MONOCHROME2"


def test_twelve_bit_extended_jpeg(make_dicom: MakeDicom) -> None:
    pixels = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint16) * 32
    encoded = imagecodecs.jpeg8_encode(pixels, level=100, bitspersample=12)
    dicom = make_dicom(pixels, transfer_syntax=JPEGExtended12Bit, encoded=encoded, BitsStored=12, HighBit=11)
    assert np.abs(decode(dicom).pixels.astype(int) - pixels).max() <= 4


@pytest.mark.parametrize(("photometric", "space"), [("YBR_FULL_422", "YCBCR"), ("YBR_FULL", "YCBCR"), ("RGB", "RGB")])
def test_colour_jpeg_leaves_as_rgb(make_dicom: MakeDicom, photometric: str, space: str) -> None:
    pixels = np.full((32, 32, 3), (200, 90, 30), np.uint8)
    encoded = imagecodecs.jpeg8_encode(pixels, level=98, colorspace="RGB", outcolorspace=space)
    dicom = make_dicom(pixels, transfer_syntax=JPEGBaseline8Bit, encoded=encoded, PhotometricInterpretation=photometric)
    image = decode(dicom)
    assert image.photometric == "RGB"
    assert np.abs(image.pixels.astype(int) - pixels).max() <= 4


def test_only_the_first_frame_is_decoded(make_dicom: MakeDicom) -> None:
    frames = np.arange(2 * 6 * 8, dtype=np.uint16).reshape(2, 6, 8)
    image = decode(make_dicom(frames[0], NumberOfFrames=2, PixelData=frames.tobytes()))
    np.testing.assert_array_equal(image.pixels, frames[0])


def test_bits_above_bits_stored_are_ignored(make_dicom: MakeDicom) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    image = decode(make_dicom(pixels | 0xF000, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(image.pixels, pixels)


def test_planar_configuration(make_dicom: MakeDicom) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    image = decode(make_dicom(pixels, PlanarConfiguration=1, PixelData=planes.tobytes()))
    np.testing.assert_array_equal(image.pixels, pixels)


def test_float_pixel_data(make_dicom: MakeDicom) -> None:
    pixels = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    dicom = make_dicom(
        pixels, PixelData=None, FloatPixelData=pixels.tobytes(), BitsStored=None, HighBit=None, PixelRepresentation=None
    )
    np.testing.assert_array_equal(decode(dicom).pixels, pixels)


@pytest.mark.parametrize("name", ["reportsi.dcm", "waveform_ecg.dcm", "rtplan.dcm", "test-SR.dcm"])
def test_objects_without_pixels_are_no_images(name: str) -> None:
    with open(str(get_testdata_file(name)), "rb") as stream, pytest.raises(NotAnImage):
        decode(stream.read())


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"Rows": None}, PixelErrorCode.MISSING_ATTRIBUTE, "Rows is missing"),
        ({"Rows": 0}, PixelErrorCode.INVALID_ATTRIBUTE, "Rows is 0"),
        ({"BitsAllocated": None}, PixelErrorCode.MISSING_ATTRIBUTE, "BitsAllocated is missing"),
        ({"BitsStored": 20}, PixelErrorCode.INVALID_ATTRIBUTE, "BitsStored is 20"),
        ({"PixelRepresentation": None}, PixelErrorCode.MISSING_ATTRIBUTE, "PixelRepresentation is missing"),
        ({"PhotometricInterpretation": None}, PixelErrorCode.MISSING_ATTRIBUTE, "Photometric Interpretation"),
        ({"NumberOfFrames": -1}, PixelErrorCode.INVALID_ATTRIBUTE, "NumberOfFrames is -1"),
        ({"NumberOfFrames": 2}, PixelErrorCode.TRUNCATED, "Pixel Data holds 128 bytes, 256 expected"),
        ({"PixelData": b""}, PixelErrorCode.TRUNCATED, "Pixel Data is empty"),
        ({"PixelData": None}, PixelErrorCode.MISSING_ATTRIBUTE, "Pixel Data is missing"),
        ({"PixelData": b"\0" * 64}, PixelErrorCode.TRUNCATED, "Pixel Data holds 64 bytes, 128 expected"),
        ({"Rows": 65535, "Columns": 65535}, PixelErrorCode.TOO_LARGE, "1073741824 are allowed"),
        ({"FloatPixelData": b"\0" * 256}, PixelErrorCode.INVALID_ATTRIBUTE, "more than one"),
        ({"SamplesPerPixel": 200}, PixelErrorCode.INVALID_ATTRIBUTE, "SamplesPerPixel is 200"),
        ({"transfer_syntax": MPEG2MPML, "encoded": b"\0\0"}, PixelErrorCode.UNSUPPORTED, "no decoder reads MPEG2"),
        ({"transfer_syntax": UID("1.2.3.4")}, PixelErrorCode.UNSUPPORTED, "no public transfer syntax"),
        ({"transfer_syntax": JPEG2000Lossless, "encoded": b"\xff" * 50}, PixelErrorCode.UNDECODABLE, "JPEG 2000"),
        ({"transfer_syntax": RLELossless, "encoded": b"\0" * 80}, PixelErrorCode.UNDECODABLE, "RLE"),
    ],
)
def test_broken_pixels_say_what_is_wrong(
    make_dicom: MakeDicom, change: dict, code: PixelErrorCode, message: str
) -> None:
    with pytest.raises(PixelError, match=message) as caught:
        decode(make_dicom(np.zeros((8, 8), np.uint16), **change))
    assert caught.value.code is code


@pytest.mark.parametrize("data", [b"", b"random" * 100, bytes(1000), b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_is_refused(data: bytes) -> None:
    with pytest.raises((PixelError, NotAnImage)):
        decode(data)


def test_random_bytes_have_their_own_reason() -> None:
    with pytest.raises(PixelError, match="DICM") as caught:
        decode(np.random.default_rng(0).bytes(5000))
    assert caught.value.code is PixelErrorCode.NOT_DICOM


def test_half_a_chest_radiograph_is_truncated() -> None:
    with open(str(get_testdata_file("RG1_UNCR.dcm")), "rb") as stream:
        whole = stream.read()
    with pytest.raises(PixelError) as caught:
        decode(whole[: len(whole) // 2])
    assert caught.value.code is PixelErrorCode.TRUNCATED


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), compressed=st.booleans())
def test_damage_never_gives_another_exception(make_dicom: MakeDicom, data: st.DataObject, compressed: bool) -> None:
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    options = {"transfer_syntax": JPEGLosslessSV1, "encoded": ENCODERS[JPEGLosslessSV1](pixels)} if compressed else {}
    dicom = bytearray(make_dicom(pixels, **options))
    for _ in range(data.draw(st.integers(1, 4))):
        dicom[data.draw(st.integers(132, len(dicom) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PixelError, NotAnImage):
        decode(bytes(dicom[: data.draw(st.integers(132, len(dicom)))]))


def test_the_limit_holds_before_decoding(make_dicom: MakeDicom) -> None:
    dicom = make_dicom(np.zeros((8, 8), np.uint16))
    assert decode(dicom, DecodeLimits(max_decoded_bytes=128)).pixels.shape == (8, 8)
    with pytest.raises(PixelError) as caught:
        decode(dicom, DecodeLimits(max_decoded_bytes=127))
    assert caught.value.code is PixelErrorCode.TOO_LARGE


@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda uid: uid.name)
def test_a_codestream_larger_than_its_header_is_not_decoded(make_dicom: MakeDicom, syntax: UID) -> None:
    encoded = ENCODERS[syntax](np.zeros((64, 48), np.uint8))
    assert codestream_shape(encoded) == (64, 48)
    with pytest.raises(PixelError, match="64 x 48"):
        decode(make_dicom(np.zeros((16, 16), np.uint8), transfer_syntax=syntax, encoded=encoded))


def test_unknown_codestreams_have_no_shape() -> None:
    assert codestream_shape(b"") is None
    assert codestream_shape(b"\xff\xd8\xff") is None
    assert codestream_shape(b"no picture") is None


def test_every_codec_named_is_there() -> None:
    from pydicom.pixels import get_decoder

    missing = {uid.name for uid, plugin in CODECS.items() if plugin not in get_decoder(uid).available_plugins}
    assert not missing


def test_nothing_of_the_patient_reaches_log_or_error(make_dicom: MakeDicom, caplog: pytest.LogCaptureFixture) -> None:
    dicom = make_dicom(np.zeros((8, 8), np.uint16), PatientName="Smith^John", PatientID="4711-SMITH", Rows=9)
    dicom = dicom.replace(b"1.2.826.0.1.3680043.8.498.1", b"SMITH.0.1.3680043.8.498.1..")
    with pytest.raises(PixelError) as caught:
        decode(dicom)
    assert "SMITH" not in (caplog.text + str(caught.value)).upper()
