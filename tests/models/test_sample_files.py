from collections import Counter
from pathlib import Path

import data_store
import numpy as np
import pytest
from pydicom.data import get_testdata_file, get_testdata_files

from models.pixels import NotAnImage, PixelError, decode, to_display, to_model_input
from models.spec import PreprocessSpec


def sample_files() -> list[Path]:
    """Every file that pydicom and pydicom-data carry."""
    beside = Path(data_store.__file__).parent.rglob("*")
    files = {Path(name) for name in get_testdata_files("**/*")} | set(beside)
    return sorted(path for path in files if path.is_file() and path.suffix not in (".py", ".pyc"))


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


def test_every_sample_decodes_or_says_why_not(spec: PreprocessSpec) -> None:
    outcomes: Counter[str] = Counter()
    refused = {}
    for path in sample_files():
        try:
            pixels, _ = to_model_input(decode(path.read_bytes()), spec)
        except NotAnImage:
            outcomes["not an image"] += 1
        except PixelError as error:
            outcomes[error.code] += 1
            refused[path.name] = str(error)
        else:
            outcomes["decoded"] += 1
            assert pixels.shape == (spec.size, spec.size)
            assert pixels.dtype == np.uint8
    print(dict(outcomes))  # noqa: T201 - the figure is part of what this test is for
    assert outcomes["decoded"] >= 156
    broken = {name: why for name, why in refused.items() if "not a DICOM Part 10 file" not in why}
    assert set(broken) == {
        "JPEG2000-embedded-sequence-delimiter.dcm",  # a delimiter was planted in the codestream's header
        "MR_truncated.dcm",
        "badVR.dcm",
        "emri_small_jpeg_2k_lossless_too_short.dcm",
        "meta_missing_tsyntax.dcm",
        "nested_priv_SQ.dcm",
    }


@pytest.mark.parametrize(("left", "right"), [("RG1_UNCR", "RG1_J2KR"), ("RG1_UNCI", "RG1_J2KI")])
def test_compressed_twins_become_the_same_model_input(left: str, right: str, spec: PreprocessSpec) -> None:
    ours, geometry = to_model_input(decode(sample(f"{left}.dcm")), spec)
    theirs, other = to_model_input(decode(sample(f"{right}.dcm")), spec)
    np.testing.assert_array_equal(ours, theirs)
    assert geometry == other


def test_the_chest_radiograph_is_shown_as_a_radiologist_sees_it() -> None:
    shown = to_display(decode(sample("RG1_UNCR.dcm")))
    assert shown.shape == (1955, 1841)
    # MONOCHROME1: bone and mediastinum white, lung and the air beside the neck darker.
    mediastinum, lung = shown[900:1000, 880:960].mean(), shown[500:700, 420:560].mean()
    assert mediastinum > lung + 20


def test_a_jpeg_2000_image_with_signed_values_equals_its_twin(spec: PreprocessSpec) -> None:
    uncompressed, compressed = decode(sample("693_UNCR.dcm")), decode(sample("693_J2KR.dcm"))
    np.testing.assert_array_equal(uncompressed.pixels, compressed.pixels)
