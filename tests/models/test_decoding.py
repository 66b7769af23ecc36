from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
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

from models import htj2k
from models.codecs import CODECS, codestream_shape
from models.pixels import DecodeLimits, NotAnImage, PixelError, PixelErrorCode, decode, to_model_input
from models.spec import PreprocessSpec

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


def test_openjpeg_has_the_word_on_htj2k_of_others(make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenJPH makes pixels of a stream that is cut off."""

    def none(stream: bytes) -> np.ndarray:
        raise AssertionError("it was asked")

    pixels = np.random.default_rng(0).integers(0, 4096, (100, 80), dtype=np.uint16)
    encoded = imagecodecs.htj2k_encode(pixels, reversible=True)
    monkeypatch.setattr(htj2k, "decode", none)
    np.testing.assert_array_equal(
        decode(make_dicom(pixels, transfer_syntax=HTJ2KLossless, encoded=encoded)).pixels, pixels
    )
    with pytest.raises(PixelError, match="cannot be decoded"):
        decode(make_dicom(pixels, transfer_syntax=HTJ2KLossless, encoded=encoded[: len(encoded) // 2]))


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint16, 12), (np.int16, 13), (np.uint8, 7)])
def test_own_htj2k_is_read_by_its_own_decoder(
    dtype: type, bits: int, make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(htj2k, "decode", lambda stream, own=htj2k.decode: asked.append(stream) or own(stream))
    least = -(1 << bits - 1) if dtype is np.int16 else 0
    pixels = np.random.default_rng(0).integers(least, least + (1 << bits), (50, 40)).astype(dtype)
    encoded = htj2k.encode(pixels, bits)
    dicom = make_dicom(pixels, transfer_syntax=HTJ2KLossless, encoded=encoded, BitsStored=bits, HighBit=bits - 1)
    image = decode(dicom)
    assert asked == [encoded]
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)


def test_own_htj2k_that_is_cut_is_undecodable(make_dicom: MakeDicom) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (100, 80), dtype=np.uint16)
    encoded = htj2k.encode(pixels, 12)
    with pytest.raises(PixelError, match="cannot be decoded"):
        decode(make_dicom(pixels, transfer_syntax=HTJ2KLossless, encoded=encoded[: len(encoded) // 2]))


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


class Counting(BytesIO):
    """A stream that counts what is read of it."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.read_bytes += len(content)
        return content


@pytest.mark.parametrize("has_bot", [True, False])
@pytest.mark.parametrize("compressed", [False, True])
def test_of_a_stream_no_other_frame_is_read(make_dicom: MakeDicom, compressed: bool, has_bot: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 65535, (50, 64, 48), np.uint16)
    pixel_data = encapsulate([ENCODERS[JPEGLosslessSV1](frame) for frame in frames], has_bot=has_bot)
    options = {"transfer_syntax": JPEGLosslessSV1, "encoded": b"..", "PixelData": pixel_data} if compressed else {}
    dicom = make_dicom(frames[0], **{"NumberOfFrames": 50, "PixelData": frames.tobytes()} | options)
    stream = Counting(dicom)
    image = decode(stream)
    np.testing.assert_array_equal(image.pixels, frames[0])
    assert image.header.NumberOfFrames == 50
    assert "PixelData" not in image.header
    assert stream.read_bytes < 3 * frames[0].nbytes < len(dicom) / 10


def test_the_limit_is_for_the_one_frame_that_is_decoded(make_dicom: MakeDicom) -> None:
    frames = np.zeros((9, 8, 8), np.uint16)
    dicom = make_dicom(frames[0], NumberOfFrames=9, PixelData=frames.tobytes())
    assert decode(dicom, DecodeLimits(max_decoded_bytes=128)).pixels.shape == (8, 8)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_object_cut_off_in_a_later_frame_is_truncated(make_dicom: MakeDicom, compressed: bool) -> None:
    frames = np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8)
    pixel_data = encapsulate([ENCODERS[JPEGLosslessSV1](frame) for frame in frames])
    options = {"transfer_syntax": JPEGLosslessSV1, "encoded": b"..", "PixelData": pixel_data} if compressed else {}
    dicom = make_dicom(frames[0], **{"NumberOfFrames": 3, "PixelData": frames.tobytes()} | options)
    np.testing.assert_array_equal(decode(dicom).pixels, frames[0])
    for missing in (1, 9, 100):
        with pytest.raises(PixelError) as caught:
            decode(dicom[:-missing])
        assert caught.value.code is PixelErrorCode.TRUNCATED


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
        ({"Rows": 65535, "Columns": 65535}, PixelErrorCode.TOO_LARGE, "536870912 are allowed"),
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


@pytest.mark.parametrize("tag", [b"\x28\0\x10\0", b"\x28\0\x04\0"], ids=["Rows", "Photometric Interpretation"])
def test_a_broken_value_representation_is_said_in_words(make_dicom: MakeDicom, tag: bytes) -> None:
    dicom = bytearray(make_dicom(np.zeros((8, 8), np.uint16)))
    dicom[dicom.index(tag) + 5] = 0
    with pytest.raises(PixelError, match="cannot be read") as caught:
        decode(bytes(dicom))
    assert caught.value.code is PixelErrorCode.INVALID_ATTRIBUTE


def test_a_broken_pixel_spacing_is_no_spacing(make_dicom: MakeDicom, spec: PreprocessSpec) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    dicom = bytearray(make_dicom(pixels, PixelSpacing=[2.0, 1.0]))
    dicom[dicom.index(b"\x28\0\x30\0") + 5] = 0
    broken, _ = to_model_input(decode(bytes(dicom)), spec)
    np.testing.assert_array_equal(broken, to_model_input(decode(make_dicom(pixels)), spec)[0])


def test_the_limit_holds_before_decoding(make_dicom: MakeDicom) -> None:
    dicom = make_dicom(np.zeros((8, 8), np.uint16))
    assert decode(dicom, DecodeLimits(max_decoded_bytes=128)).pixels.shape == (8, 8)
    with pytest.raises(PixelError) as caught:
        decode(dicom, DecodeLimits(max_decoded_bytes=127))
    assert caught.value.code is PixelErrorCode.TOO_LARGE


@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda uid: uid.name)
def test_a_codestream_larger_than_its_header_is_not_decoded(make_dicom: MakeDicom, syntax: UID) -> None:
    encoded = ENCODERS[syntax](np.zeros((64, 48), np.uint8))
    assert codestream_shape(encoded) == (64, 48, 1)
    with pytest.raises(PixelError, match="64 x 48") as caught:
        decode(make_dicom(np.zeros((16, 16), np.uint8), transfer_syntax=syntax, encoded=encoded))
    assert caught.value.code is PixelErrorCode.INVALID_ATTRIBUTE


def box(kind: bytes, content: bytes, extended: bool = False) -> bytes:
    """A box of ISO/IEC 15444-1 I.4."""
    if extended:
        return (1).to_bytes(4, "big") + kind + (16 + len(content)).to_bytes(8, "big") + content
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def test_a_codestream_in_a_jp2_file_is_looked_at_too(make_dicom: MakeDicom) -> None:
    large, small = np.zeros((64, 48), np.uint8), np.arange(256, dtype=np.uint8).reshape(16, 16)
    wrapped = imagecodecs.jpeg2k_encode(large, codecformat="JP2", reversible=True)
    with pytest.raises(PixelError, match="64 x 48"):
        decode(make_dicom(small, transfer_syntax=JPEG2000Lossless, encoded=wrapped))
    fits = imagecodecs.jpeg2k_encode(small, codecformat="JP2", reversible=True)
    np.testing.assert_array_equal(
        decode(make_dicom(small, transfer_syntax=JPEG2000Lossless, encoded=fits)).pixels, small
    )


@pytest.mark.parametrize("extended", [False, True])
def test_boxes_before_the_codestream_are_walked_over(extended: bool) -> None:
    codestream = ENCODERS[JPEG2000Lossless](np.zeros((64, 48), np.uint8))
    decoy = box(b"uuid", b"jp2c" + ENCODERS[JPEG2000Lossless](np.zeros((16, 16), np.uint8)), extended)
    signature = box(b"jP  ", b"\r\n\x87\n")
    assert codestream_shape(signature + decoy + box(b"jp2c", codestream, extended)) == (64, 48, 1)
    assert codestream_shape(signature + decoy + b"\0\0\0\0jp2c" + codestream) == (64, 48, 1)
    assert codestream_shape(signature + decoy) is None
    assert codestream_shape(signature + b"\0\0\0\0uuid" + box(b"jp2c", codestream)) is None


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_more_samples_than_the_object_says_are_not_decoded(make_dicom: MakeDicom, syntax: UID) -> None:
    colour = np.zeros((16, 16, 3), np.uint8)
    encoded = (
        imagecodecs.jpeg8_encode(colour)
        if syntax == JPEGBaseline8Bit
        else imagecodecs.jpeg2k_encode(colour, codecformat="J2K", reversible=True)
    )
    with pytest.raises(PixelError, match="3 samples per pixel") as caught:
        decode(make_dicom(colour[..., 0], transfer_syntax=syntax, encoded=encoded))
    assert caught.value.code is PixelErrorCode.INVALID_ATTRIBUTE


@pytest.mark.parametrize("prefix", [b"", b"no header "], ids=["cut", "something before it"])
@pytest.mark.parametrize("syntax", ENCODERS, ids=lambda uid: uid.name)
def test_a_frame_of_unknown_size_is_not_decoded(make_dicom: MakeDicom, syntax: UID, prefix: bytes) -> None:
    encoded = ENCODERS[syntax](np.zeros((16, 16), np.uint8))
    hidden = prefix + encoded if prefix else encoded[:12]
    with pytest.raises(PixelError, match="no readable header") as caught:
        decode(make_dicom(np.zeros((16, 16), np.uint8), transfer_syntax=syntax, encoded=hidden))
    assert caught.value.code is PixelErrorCode.UNDECODABLE


def test_an_extended_offset_table_cannot_point_past_the_check(make_dicom: MakeDicom) -> None:
    small, large = np.zeros((16, 16), np.uint8), np.full((64, 48), 7, np.uint8)
    checked, hidden = (ENCODERS[JPEGLosslessSV1](pixels) for pixels in (small, large))
    checked += b"\0" * (len(checked) % 2)
    dicom = make_dicom(
        small,
        transfer_syntax=JPEGLosslessSV1,
        encoded=checked,
        PixelData=encapsulate([checked, hidden], has_bot=False),
        NumberOfFrames=2,
        ExtendedOffsetTable=(8 + len(checked)).to_bytes(8, "little") * 2,
        ExtendedOffsetTableLengths=len(hidden).to_bytes(8, "little") * 2,
    )
    np.testing.assert_array_equal(decode(dicom).pixels, small)


def test_unknown_codestreams_have_no_shape() -> None:
    assert codestream_shape(b"") is None
    assert codestream_shape(b"\xff\xd8\xff") is None
    assert codestream_shape(b"no picture") is None


@pytest.mark.parametrize("filler", [b"\xff\x01", b"\xff\xd0", b"\xff\xff\xff"], ids=["TEM", "RST0", "fill bytes"])
def test_markers_without_a_segment_hide_no_frame_header(filler: bytes) -> None:
    encoded = ENCODERS[JPEGLosslessSV1](np.zeros((64, 48), np.uint8))
    decoy = ENCODERS[JPEGLosslessSV1](np.zeros((16, 16), np.uint8))[2:]
    application = b"\xff\xe5" + (2 + len(decoy)).to_bytes(2, "big") + decoy
    assert codestream_shape(encoded[:2] + filler + application + encoded[2:]) == (64, 48, 1)
    assert codestream_shape(encoded[:2] + b"\xff\xd9" + encoded[2:]) is None


def test_want_of_memory_is_no_fault_of_the_object(make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("models.decoding.dcmread", exhausted)
    with pytest.raises(MemoryError):
        decode(make_dicom(np.zeros((8, 8), np.uint8)))


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
