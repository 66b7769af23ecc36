import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

from producers.dicom_object import pieces, split
from producers.errors import BrokenObject, TooLarge
from radiolog.settings import MIB

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


def _encoded(dataset: Dataset, syntax: UID) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    write_dataset(stream, dataset)
    return stream.getvalue()


_text = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), max_size=20)
_elements = st.fixed_dictionaries(
    {"SOPClassUID": st.just("1.2.840.10008.5.1.4.1.1.7"), "SOPInstanceUID": st.just("1.2.3")},
    optional={
        "PatientName": _text,
        "StudyDescription": _text,
        "ImageComments": _text,
        "Rows": st.integers(0, 65535),
        "WindowCenter": st.floats(-1000, 1000, allow_nan=False).map(lambda x: f"{x:.3f}"),
        "LUTFrameRange": st.lists(st.integers(0, 9), min_size=2, max_size=2),
        "ICCProfile": st.binary(max_size=20).map(lambda b: b + b"\0" * (len(b) % 2)),
    },
)


@st.composite
def _datasets(draw: st.DrawFn, depth: int = 2) -> Dataset:
    dataset = Dataset()
    for keyword, value in draw(_elements).items():
        setattr(dataset, keyword, value)
    if depth and draw(st.booleans()):
        dataset.SourceImageSequence = Sequence(draw(st.lists(_datasets(depth=depth - 1), max_size=2)))
    return dataset


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(dataset=_datasets(), pixels=st.binary(max_size=64), word=st.booleans())
def test_split_then_join_changes_nothing(syntax: UID, dataset: Dataset, pixels: bytes, word: bool) -> None:
    header = _encoded(dataset, syntax)
    if pixels:
        dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
        dataset["PixelData"].VR = "OW" if word or syntax.is_implicit_VR else "OB"
    whole = _encoded(dataset, syntax)
    parsed = split(whole, syntax, MIB)
    assert bytes(parsed.pixels) == whole[len(header) :]
    file = b"".join(pieces(parsed.header, parsed.pixels, parsed.transfer_syntax))
    assert file.endswith(whole)
    assert dcmread(BytesIO(file)).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(dataset=_datasets(), data=st.data())
def test_pixels_that_are_cut_off_never_pass(syntax: UID, dataset: Dataset, data: st.DataObject) -> None:
    header = len(_encoded(dataset, syntax))
    dataset.PixelData = bytes(40)
    dataset["PixelData"].VR = "OW"
    whole = _encoded(dataset, syntax)
    with pytest.raises(BrokenObject, match=r"Pixel Data|cut off"):
        split(whole[: data.draw(st.integers(header + 8, len(whole) - 1))], syntax, MIB)


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(dataset=_datasets(), data=st.data())
def test_a_cut_header_is_broken_or_shorter(syntax: UID, dataset: Dataset, data: st.DataObject) -> None:
    whole = _encoded(dataset, syntax)
    end = data.draw(st.integers(0, len(whole) - 1))
    try:
        parsed = split(whole[:end], syntax, MIB)
    except BrokenObject:
        return
    assert len(parsed.header) <= len(dataset)
    assert len(parsed.pixels) == 0


@given(st.binary(max_size=400), st.sampled_from(SYNTAXES))
def test_random_bytes_are_not_dicom(noise: bytes, syntax: UID) -> None:
    with pytest.raises(BrokenObject, match="not DICOM"):
        split(noise, syntax, MIB)


def test_half_of_the_pixels(new_object: Callable[..., Dataset]) -> None:
    whole = _encoded(new_object(PixelData=bytes(1000)), ExplicitVRLittleEndian)
    with pytest.raises(BrokenObject, match="Pixel Data declares 1000 bytes, 500 are there"):
        split(whole[:-500], ExplicitVRLittleEndian, MIB)


def _encapsulated(new_object: Callable[..., Dataset], frames: int) -> bytes:
    dataset = new_object(PixelData=encapsulate([b"\xff\xd8frame!"] * frames))
    dataset["PixelData"].is_undefined_length = True
    return _encoded(dataset, JPEGBaseline8Bit)


def test_encapsulated_pixels_are_spliced(new_object: Callable[..., Dataset]) -> None:
    whole = _encapsulated(new_object, 3)
    parsed = split(whole, JPEGBaseline8Bit, MIB)
    assert whole.endswith(bytes(parsed.pixels))
    assert bytes(parsed.pixels).endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")


@pytest.mark.parametrize(
    ("cut", "reason"),
    [(8, "ends inside Pixel Data"), (4, "ends inside Pixel Data"), (12, "ends inside item 3")],
)
def test_encapsulated_pixels_without_an_end(new_object: Callable[..., Dataset], cut: int, reason: str) -> None:
    with pytest.raises(BrokenObject, match=reason):
        split(_encapsulated(new_object, 2)[:-cut], JPEGBaseline8Bit, MIB)


def test_a_fragment_of_another_kind(new_object: Callable[..., Dataset]) -> None:
    whole = _encapsulated(new_object, 2)
    with pytest.raises(BrokenObject, match="broken after 3 items"):
        split(whole.replace(b"\xfe\xff\xdd\xe0", b"\xfe\xff\x0d\xe0"), JPEGBaseline8Bit, MIB)


def test_what_follows_the_pixels_is_dropped(new_object: Callable[..., Dataset]) -> None:
    dataset = new_object(DataSetTrailingPadding=b"Kowalska")
    whole = _encoded(dataset, ExplicitVRLittleEndian)
    parsed = split(whole, ExplicitVRLittleEndian, MIB)
    assert b"Kowalska" in whole
    assert b"Kowalska" not in b"".join(pieces(parsed.header, parsed.pixels, parsed.transfer_syntax))


def test_an_object_without_pixels_is_whole(new_object: Callable[..., Dataset]) -> None:
    dataset = new_object()
    del dataset.PixelData
    parsed = split(_encoded(dataset, ExplicitVRLittleEndian) + b"\0\0", ExplicitVRLittleEndian, MIB)
    assert len(parsed.pixels) == 0
    assert parsed.header.PatientID == dataset.PatientID


def test_deflated_is_stored_inflated(new_object: Callable[..., Dataset]) -> None:
    plain = _encoded(new_object(), ExplicitVRLittleEndian)
    parsed = split(_deflated(plain), DeflatedExplicitVRLittleEndian, MIB)
    assert parsed.transfer_syntax == ExplicitVRLittleEndian
    assert b"".join(pieces(parsed.header, parsed.pixels, parsed.transfer_syntax)).endswith(plain)


def test_a_deflate_bomb_is_too_large(new_object: Callable[..., Dataset]) -> None:
    bomb = _deflated(_encoded(new_object(PixelData=bytes(10 * MIB)), ExplicitVRLittleEndian))
    assert len(bomb) < MIB // 10
    with pytest.raises(TooLarge, match="inflates to more than"):
        split(bomb, DeflatedExplicitVRLittleEndian, MIB)


@pytest.mark.parametrize("cut", [1, 20])
def test_deflated_and_cut_off(new_object: Callable[..., Dataset], cut: int) -> None:
    with pytest.raises(BrokenObject, match="cut off"):
        split(_deflated(_encoded(new_object(), ExplicitVRLittleEndian))[:-cut], DeflatedExplicitVRLittleEndian, MIB)


def test_not_deflated_at_all(new_object: Callable[..., Dataset]) -> None:
    with pytest.raises(BrokenObject, match="not deflated"):
        split(_encoded(new_object(), ExplicitVRLittleEndian), DeflatedExplicitVRLittleEndian, MIB)


@pytest.mark.parametrize(
    ("real", "claimed"),
    [(ExplicitVRLittleEndian, ImplicitVRLittleEndian), (ImplicitVRLittleEndian, ExplicitVRLittleEndian)],
)
def test_the_wrong_value_representation_is_put_right(
    real: UID, claimed: UID, new_object: Callable[..., Dataset]
) -> None:
    parsed = split(_encoded(new_object(), real), claimed, MIB)
    assert parsed.transfer_syntax == real
    assert parsed.header.PatientID == "MRN-4711"


def test_implicit_vr_in_a_compressed_syntax_is_refused(new_object: Callable[..., Dataset]) -> None:
    with pytest.raises(BrokenObject, match="explicit VR"):
        split(_encoded(new_object(), ImplicitVRLittleEndian), JPEGBaseline8Bit, MIB)


@pytest.mark.parametrize("syntax", ["1.2.3x", "", "1.2.840.10008.1.1"])
def test_what_is_no_transfer_syntax_is_refused(syntax: str, new_object: Callable[..., Dataset]) -> None:
    with pytest.raises(BrokenObject, match="transfer syntax"):
        split(_encoded(new_object(), ExplicitVRLittleEndian), syntax, MIB)


@pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "1.2.840.10008.1.2.4.999"])
def test_an_unknown_transfer_syntax_is_taken_for_an_encapsulated_one(
    syntax: str, new_object: Callable[..., Dataset]
) -> None:
    whole = _encapsulated(new_object, 2)
    parsed = split(whole, syntax, MIB)
    file = b"".join(pieces(parsed.header, parsed.pixels, parsed.transfer_syntax))
    assert file.endswith(whole)
    assert dcmread(BytesIO(file)).file_meta.TransferSyntaxUID == syntax
    with pytest.raises(BrokenObject, match="not in explicit VR"):
        split(_encoded(new_object(), ImplicitVRLittleEndian), syntax, MIB)


def test_sequences_nested_without_end() -> None:
    head = _encoded(_sop_class(), ExplicitVRLittleEndian)
    # Source Image Sequence of undefined length, its item too: each level opens the next.
    level = b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with pytest.raises(TooLarge, match="nested"):
        split(head + level * 5000, ExplicitVRLittleEndian, MIB)


def _sop_class() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = generate_uid()
    return dataset


def _deflated(plain: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(plain) + deflater.flush()
