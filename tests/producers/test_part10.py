import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from producers import part10
from producers.errors import BrokenObject

PREAMBLE = 132


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_data_set_is_found_with_and_without_its_wrapping(
    syntax: UID, new_object: Callable[..., Dataset], written: Callable[..., bytes]
) -> None:
    dataset = new_object()
    content = written(dataset, syntax)
    whole = part10.parse(content)
    assert content.endswith(whole.dataset)
    assert (whole.transfer_syntax, whole.has_preamble) == (syntax, True)
    assert (whole.sop_class, whole.sop_instance) == (dataset.SOPClassUID, dataset.SOPInstanceUID)
    assert part10.parse(content[PREAMBLE:]).dataset == whole.dataset
    bare = part10.parse(whole.dataset)
    assert (bare.dataset, bare.transfer_syntax) == (whole.dataset, syntax)
    assert bare.sop_class is None


def test_a_compressed_file(sample: Callable[[str], Path]) -> None:
    assert part10.parse(sample("RG1_J2KR.dcm").read_bytes()).transfer_syntax == JPEG2000Lossless


def test_a_dicomdir_is_told_apart(sample: Callable[[str], Path]) -> None:
    assert part10.parse(sample("DICOMDIR").read_bytes()).is_dicomdir


@pytest.mark.parametrize("content", [b"", b"no DICOM here", bytes(200)])
def test_anything_else_is_taken_for_a_bare_data_set(content: bytes) -> None:
    assert part10.parse(content).dataset == content


def test_broken_file_meta_information() -> None:
    with pytest.raises(BrokenObject, match="file meta information"):
        part10.parse(b"\x02\x00\x10\x00OB\0\0\xff\xff\xff\xff" + bytes(20))


@pytest.mark.parametrize("name", ["CT_small.dcm", "RG1_J2KR.dcm", "DICOMDIR", "ExplVR_BigEndNoMeta.dcm"])
def test_in_place_it_is_the_same(name: str, sample: Callable[[str], Path]) -> None:
    content = sample(name).read_bytes()
    assert part10.parse_in_place(BytesIO(content)) == part10.parse(content)


def test_in_place_nothing_is_copied(new_object: Callable[..., Dataset], written: Callable[..., bytes]) -> None:
    stream = BytesIO()
    for piece in (written(new_object()), *([bytes(1 << 20)] * 32)):
        stream.write(piece)
    tracemalloc.start()
    try:
        dataset = part10.parse_in_place(stream).dataset
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(dataset) > 32 << 20
    assert peak < 40 << 20
