"""Lossless transcoding at the edge: what comes back is what came, and whatever is not certain stays as it came."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import numpy as np
import openjpeg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    RLELossless,
)
from structlog.testing import capture_logs

from models import htj2k
from models.bundle import load_bundle
from models.decoding import decode
from models.pixels import to_model_input
from producers import dicom_object, part10, transcoding
from producers.intake import Intake, ReceivedObject
from producers.pseudonyms import Pseudonyms
from producers.transcoding import MOST_BYTES, Outcome
from radiolog.log.metrics import PROCESS
from radiolog.log.publisher import MemoryPublisher
from radiolog.settings import Settings, SettingsError
from schemas.events import ImageEvent, ImageSource, SourceKind

SOURCE = ImageSource(kind=SourceKind.C_STORE, peer="CR_1", adapter="RADIOLOG")
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROWS, COLUMNS = 300, 253
FORMS = [("<u2", 16), ("<u2", 12), ("<u2", 9), ("<i2", 16), ("<i2", 13), ("|u1", 8), ("|u1", 6), ("|i1", 8)]

Build = Callable[..., Dataset]
Written = Callable[..., bytes]
Publish = Callable[[bytes], ImageEvent]


def smooth(dtype: str, bits: int, shape: tuple[int, int] = (ROWS, COLUMNS)) -> NDArray[Any]:
    """Something smooth over the whole range of so many bits, its ends included."""
    least = -(1 << bits - 1) if "i" in dtype else 0
    wave = np.sin(np.arange(shape[0]) / 40)[:, None] + np.cos(np.arange(shape[1]) / 30)
    return ((wave - wave.min()) / np.ptp(wave) * ((1 << bits) - 1) + least).round().astype(dtype)


@pytest.fixture
def radiograph(new_object: Build) -> Build:
    """A radiograph that is large enough; elements can be given by keyword."""

    def make(pixels: NDArray[Any] | None = None, bits: int = 12, **elements: object) -> Dataset:
        pixels = smooth("<u2", bits) if pixels is None else pixels
        allocated, is_signed = 8 * pixels.dtype.itemsize, pixels.dtype.kind == "i"
        image: dict[str, object] = {
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "BitsAllocated": allocated,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": int(is_signed),
            "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
            "WindowCenter": "100.50",
            "WindowWidth": "4096",
        }
        dataset = new_object(**(image | elements))
        dataset["PixelData"].VR = "OW" if allocated > 8 else "OB"
        dataset.add_new("PixelPaddingValue", "SS" if is_signed else "US", 0)
        table = Dataset()  # its value representations follow from Pixel Representation, which lies outside it
        table.add_new("LUTDescriptor", "SS" if is_signed else "US", [4, 0, 16])
        table.add_new("LUTData", "OW", np.arange(4, dtype="<u2").tobytes())
        dataset.VOILUTSequence = [table]
        return dataset

    return make


@pytest.fixture
def publish(make_settings: Callable[..., Settings], pseudonyms: Pseudonyms) -> Callable[..., ImageEvent]:
    """The event that becomes of a Part 10 file, with the option on."""

    def accept(content: bytes, transcode: str = "htj2k", keep: bool = False, **overrides: object) -> ImageEvent:
        file, publisher = part10.parse(content), MemoryPublisher()
        intake = Intake(publisher, None if keep else pseudonyms, make_settings(transcode=transcode, **overrides))
        intake.accept(ReceivedObject(file.dataset, file.transfer_syntax, SOURCE, THEN))
        event = publisher.facts[-1].event
        assert isinstance(event, ImageEvent)
        return event

    return accept


@pytest.fixture
def outcomes() -> Callable[[], dict[str, int]]:
    """How often each outcome has been counted since the test began."""

    def read() -> dict[str, int]:
        (family,) = PROCESS.transcoded.collect()
        return {one.labels["outcome"]: int(one.value) for one in family.samples if one.name.endswith("_total")}

    before = read()
    return lambda: {name: more for name, count in read().items() if (more := count - before.get(name, 0))}


@st.composite
def frames(draw: st.DrawFn) -> tuple[NDArray[Any], int]:
    """Frames of all kinds that are taken, few pixels wide up to many, and their Bits Stored."""
    allocated = draw(st.sampled_from([8, 16]))
    bits, is_signed = draw(st.integers(allocated // 2 + 1, allocated)), draw(st.booleans())
    shape = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)) | st.sampled_from([(1, 65535), (65535, 1)]))
    least, end = (-(1 << bits - 1), 1 << bits - 1) if is_signed else (0, 1 << bits)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    match draw(st.sampled_from(["noise", "ends", "flat", "walk"])):
        case "noise":
            values = rng.integers(least, end, shape)
        case "ends":
            values = np.where(rng.random(shape) < 0.5, least, end - 1)
        case "flat":
            values = np.full(shape, rng.integers(least, end))
        case _:
            values = np.clip(rng.integers(-3, 4, shape).cumsum(axis=1) + (least + end) // 2, least, end - 1)
    return values.astype(f"<{'i' if is_signed else 'u'}{allocated // 8}"), bits


@given(frames())
@hypothesis_settings(max_examples=150, deadline=None)
def test_every_sample_comes_back_from_either_decoder(frame: tuple[NDArray[Any], int]) -> None:
    samples, bits = frame
    stream = htj2k.encode(samples, bits)
    for decoded in (htj2k.decode(stream), openjpeg.decode(stream)):
        assert decoded.dtype == samples.dtype
        assert np.array_equal(decoded, samples)
    told = openjpeg.get_parameters(stream)
    assert (told["precision"], told["is_signed"]) == (bits, samples.dtype.kind == "i")
    assert htj2k.encode(samples, bits) == stream


@pytest.mark.parametrize(("dtype", "bits"), FORMS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("keep", [False, True], ids=["deidentified", "identities kept"])
def test_the_object_is_the_same_in_fewer_bytes(
    dtype: str,
    bits: int,
    syntax: UID,
    keep: bool,
    radiograph: Build,
    written: Written,
    publish: Callable[..., ImageEvent],
) -> None:
    came = written(radiograph(smooth(dtype, bits), bits), syntax)
    before, after = publish(came, "none", keep), publish(came, "htj2k", keep)
    assert after.transfer_syntax_uid == HTJ2KLossless
    assert len(after.payload) < 0.6 * len(before.payload)
    same = ImageEvent.model_fields.keys() - {"payload", "transfer_syntax_uid", "published_at"}
    assert {name: getattr(before, name) for name in same} == {name: getattr(after, name) for name in same}
    was, now = decode(before.payload), decode(after.payload)
    assert now.pixels.dtype == was.pixels.dtype
    assert np.array_equal(now.pixels, was.pixels)
    assert now.header == was.header
    assert now.header["WindowCenter"].value.original_string == "100.50"
    assert ("SS" if "i" in dtype else "US") == now.header["PixelPaddingValue"].VR
    assert dcmread(BytesIO(after.payload)).file_meta.TransferSyntaxUID == HTJ2KLossless


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_model_sees_the_same(
    photometric: str, radiograph: Build, written: Written, publish: Callable[..., ImageEvent]
) -> None:
    came, spec = written(radiograph(PhotometricInterpretation=photometric)), load_bundle("default").spec
    before, after = (to_model_input(decode(publish(came, option).payload), spec) for option in ("none", "htj2k"))
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]


def test_the_same_object_twice_is_the_same_bytes(radiograph: Build, written: Written, publish: Publish) -> None:
    came = written(radiograph())
    first, second = publish(came), publish(came)
    assert (first.event_id, first.payload) == (second.event_id, second.payload)


def test_what_it_says_of_lossy_compression_stays(radiograph: Build, written: Written, publish: Publish) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
    after = decode(publish(written(radiograph(**lossy))).payload).header
    assert (after.LossyImageCompression, after.LossyImageCompressionRatio) == ("01", 12.5)


def test_what_fits_its_event_transcoded_is_carried_by_it(
    radiograph: Build, written: Written, publish: Callable[..., ImageEvent]
) -> None:
    came = written(radiograph())
    assert publish(came, "none", inline_max_bytes=100_000).payload_ref is not None
    assert publish(came, inline_max_bytes=100_000).payload_ref is None


def test_nothing_is_transcoded_unless_asked_for(radiograph: Build, written: Written, settings: Settings) -> None:
    assert settings.transcode == "none"


def test_another_form_is_no_setting(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"RADIOLOG_TRANSCODE: .*'htj2k'"):
        make_settings(transcode="jpeg")


OTHERS: dict[str, dict[str, object]] = {
    "two frames": {"NumberOfFrames": 2, "PixelData": smooth("<u2", 12).tobytes() * 2},
    "two frames, one of which is there": {"NumberOfFrames": 2},
    "colour": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
    "palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    "no photometric interpretation": {"PhotometricInterpretation": ""},
    "words of 32 bits": {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "Columns": COLUMNS // 2},
    "bits packed": {"BitsAllocated": 12},
    "a single bit": {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
    "eight bits in words of sixteen": {"BitsStored": 8, "HighBit": 7, "PixelData": bytes(2 * ROWS * COLUMNS)},
    "high bit elsewhere": {"HighBit": 15},
    "more bits stored than allocated": {"BitsStored": 17, "HighBit": 16},
    "an overlay in unused bits": {"PixelData": (smooth("<u2", 12) | 0x8000).tobytes()},
    "signed, and not sign-extended": {"PixelRepresentation": 1},
    "neither signed nor unsigned": {"PixelRepresentation": 2},
    "too few pixels": {"Rows": ROWS + 1},
    "too many": {"Rows": ROWS - 1},
    "rows of no pixels": {"Columns": 0},
    "a small image": {"Rows": 10, "PixelData": bytes(2 * 10 * COLUMNS)},
    "noise": {
        "PixelData": np.random.default_rng(0).integers(0, 1 << 16, (ROWS, COLUMNS), np.uint16).tobytes(),
        "BitsStored": 16,
        "HighBit": 15,
    },
}


@pytest.mark.parametrize("elements", OTHERS.values(), ids=OTHERS.keys())
def test_what_a_code_stream_might_not_hold_stays_as_it_came(
    elements: dict[str, object],
    radiograph: Build,
    written: Written,
    publish: Callable[..., ImageEvent],
    outcomes: Callable[[], dict[str, int]],
) -> None:
    came = written(radiograph(**elements))
    assert publish(came).payload == publish(came, "none").payload
    (outcome,) = outcomes()
    assert outcome in {Outcome.UNSUITED, Outcome.NO_SAVING}


def test_what_stays_is_not_touched_by_the_look_at_it(
    radiograph: Build, written: Written, publish: Callable[..., ImageEvent]
) -> None:
    came = written(radiograph(PhotometricInterpretation="PALETTE COLOR"))
    came = came.replace(b"PALETTE COLOR ", b"PALETTE COLOR\0")
    assert b"PALETTE COLOR\0" in publish(came).payload


@pytest.mark.parametrize(
    "keyword", ["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"]
)
def test_a_header_that_lacks_what_pixels_need_stays(
    keyword: str,
    radiograph: Build,
    written: Written,
    publish: Callable[..., ImageEvent],
    outcomes: Callable[[], dict[str, int]],
) -> None:
    dataset = radiograph()
    delattr(dataset, keyword)
    came = written(dataset)
    assert publish(came).payload == publish(came, "none").payload
    assert outcomes() == {Outcome.UNSUITED: 1}


def test_compressed_pixels_stay(radiograph: Build, written: Written, publish: Callable[..., ImageEvent]) -> None:
    dataset = dcmread(BytesIO(written(radiograph())))
    dataset.compress(RLELossless, generate_instance_uid=False)
    assert len(dataset.PixelData) > transcoding.LEAST_BYTES
    came = written(dataset, RLELossless)
    assert publish(came).payload == publish(came, "none").payload


def test_so_do_those_of_big_endian(radiograph: Build, written: Written, publish: Callable[..., ImageEvent]) -> None:
    came = written(radiograph(), ExplicitVRBigEndian)
    assert publish(came).payload == publish(came, "none").payload


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData", None])
def test_so_does_an_object_of_other_pixels_or_none(
    keyword: str | None, radiograph: Build, written: Written, publish: Callable[..., ImageEvent]
) -> None:
    dataset = radiograph()
    if keyword is not None:
        setattr(dataset, keyword, dataset.PixelData)  # as many bytes as Pixel Data would have
    del dataset.PixelData
    came = written(dataset)
    assert publish(came).payload == publish(came, "none").payload


def test_so_does_one_that_would_take_too_much_memory(
    radiograph: Build, written: Written, publish: Callable[..., ImageEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    came = written(radiograph())
    monkeypatch.setattr(transcoding, "MOST_BYTES", 2 * ROWS * COLUMNS)
    assert publish(came).payload == publish(came, "none").payload


def _raises(*_: object) -> bytes:
    raise RuntimeError("Doe^Jane")


def _loses_a_pixel(stream: bytes) -> NDArray[Any]:
    decoded = np.array(openjpeg.decode(stream))
    decoded[-1, -1] ^= 1
    return decoded


@pytest.mark.parametrize(("step", "instead"), [("encode", _raises), ("decode", _raises), ("decode", _loses_a_pixel)])
def test_a_codec_that_fails_costs_no_image(
    step: str,
    instead: Callable[..., Any],
    radiograph: Build,
    written: Written,
    publish: Callable[..., ImageEvent],
    outcomes: Callable[[], dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    came = written(radiograph())
    monkeypatch.setattr(htj2k, step, instead)
    with capture_logs() as lines:
        after = publish(came)
    assert after.payload == publish(came, "none").payload
    assert outcomes() == {Outcome.FAILED: 1}
    assert [line["log_level"] for line in lines if line["event"] == "object not transcoded"] == ["warning"]
    assert "Doe" not in str(lines)


def test_a_header_that_cannot_be_written_anew_costs_no_image(
    radiograph: Build, written: Written, publish: Callable[..., ImageEvent], outcomes: Callable[[], dict[str, int]]
) -> None:
    duration = b"\x18\0\x73\x90"  # Acquisition Duration, a double
    whole, cut = duration + b"\x08\0\0\0" + bytes(8), duration + b"\x04\0\0\0" + bytes(4)
    came = written(radiograph(AcquisitionDuration=0.0), ImplicitVRLittleEndian)
    assert whole in came
    came = came.replace(whole, cut)
    assert publish(came).payload == publish(came, "none").payload
    assert outcomes() == {Outcome.FAILED: 1}


def test_what_the_outcomes_count(
    radiograph: Build, written: Written, publish: Publish, outcomes: Callable[[], dict[str, int]]
) -> None:
    for rows in (ROWS, ROWS, 10):
        publish(written(radiograph(smooth("<u2", 12, (rows, COLUMNS)))))
    assert outcomes() == {Outcome.TRANSCODED: 2, Outcome.UNSUITED: 1}


def test_the_pixels_of_an_object_are_looked_at_where_they_lie(radiograph: Build, written: Written) -> None:
    file = part10.parse(written(radiograph()))
    parsed = dicom_object.split(file.dataset, file.transfer_syntax, MOST_BYTES)
    samples = transcoding.stored_values(parsed.header, parsed)
    assert samples is not None
    assert np.shares_memory(samples, np.frombuffer(file.dataset, np.uint8))
