"""Pictures as DICOM objects: valid, the same for the same picture, and with nothing in them but picture and sidecar."""

import json
import logging
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from highdicom import _standard_utils as standard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, TiffImagePlugin
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from structlog.testing import capture_logs

from producers import dicom_object, raster
from producers.errors import Refused, TooLarge
from producers.files import publish_paths
from producers.intake import Intake
from producers.photograph import wrap
from radiolog.settings import Settings
from schemas.events import Identity, ImageEvent

Make = Callable[..., bytes]
NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
GREY = NOISE[..., 0]
KINDS: dict[str, dict[str, object]] = {
    "XC": {},
    "OP": {"device": {"manufacturer": "Fundus Ltd", "type": "FundusCamera"}, "body_part": None},
    "OT": {"body_part": None, "laterality": None},
}


def _object(dataset: bytes, transfer_syntax: str) -> Dataset:
    parsed = dicom_object.split(dataset, transfer_syntax, 1 << 30)
    return dcmread(
        BytesIO(b"".join(map(bytes, dicom_object.pieces(parsed.header, parsed.pixels, parsed.transfer_syntax))))
    )


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "Kowalska"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = "Kowalska"
    return exif.tobytes()


@pytest.mark.parametrize("modality", KINDS)
@pytest.mark.parametrize("format_", ["JPEG", "PNG"])
def test_every_attribute_that_the_standard_demands_is_there(
    sidecar: Make, picture: Make, modality: str, format_: str
) -> None:
    dataset = _object(*wrap(picture(format_), sidecar(modality=modality, **KINDS[modality])))
    iod = standard.get_sop_class_iod_map()[dataset.SOPClassUID]
    modules = [module["key"] for module in standard.get_iod_module_map()[iod] if module["usage"] == "M"]
    demanded = [
        (attribute["keyword"], attribute["type"])
        for module in modules
        for attribute in standard.get_module_attribute_map()[module]
        if not attribute["path"]
    ]
    assert len(demanded) > 100
    assert [word for word, type_ in demanded if type_ in {"1", "2"} and word not in dataset] == []
    assert [word for word, type_ in demanded if type_ == "1" and dataset[word].value in (None, "")] == []
    assert dataset.Modality == modality
    if modality == "OT":
        assert (dataset.ConversionType, dataset.ImageType[1]) == ("DI", "SECONDARY")


def test_a_baseline_jpeg_is_carried_as_it_is(sidecar: Make, picture: Make) -> None:
    content = picture()
    encoded, syntax = wrap(content, sidecar())
    assert syntax == JPEGBaseline8Bit
    assert content in encoded
    dataset = _object(encoded, syntax)
    with Image.open(BytesIO(content)) as image:
        expected = np.asarray(image)
    assert np.abs(dataset.pixel_array.astype(int) - expected).max() <= 2
    assert (dataset.LossyImageCompression, dataset.PhotometricInterpretation) == ("01", "YBR_FULL_422")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_stands_upright(sidecar: Make, picture: Make, format_: str, orientation: int) -> None:
    lossless = {"quality": 100, "subsampling": 0} if format_ == "JPEG" else {}
    smooth = np.indices((24, 32, 3)).sum(axis=0).astype(np.uint8) * 3
    dataset = _object(*wrap(picture(format_, smooth, exif=_exif(orientation), **lossless), sidecar()))
    upright = {
        1: smooth,
        2: smooth[:, ::-1],
        3: smooth[::-1, ::-1],
        4: smooth[::-1],
        5: smooth.transpose(1, 0, 2),
        6: smooth.transpose(1, 0, 2)[:, ::-1],
        7: smooth.transpose(1, 0, 2)[::-1, ::-1],
        8: smooth.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert dataset.pixel_array.shape == upright.shape
    assert np.abs(dataset.pixel_array.astype(int) - upright).max() <= (3 if format_ == "JPEG" else 0)
    is_as_it_is = format_ == "JPEG" and orientation == 1
    assert dataset.file_meta.TransferSyntaxUID == (JPEGBaseline8Bit if is_as_it_is else ExplicitVRLittleEndian)
    assert dataset.LossyImageCompression == ("01" if format_ == "JPEG" else "")


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF"])
def test_nothing_else_of_the_file_is_taken_over(sidecar: Make, picture: Make, format_: str) -> None:
    for orientation in (1, 6):
        content = picture(format_, exif=_exif(orientation), icc_profile=b"Kowalska profile" * 10)
        assert b"Kowalska" in content
        encoded, _ = wrap(content, sidecar(patient={"id": "1"}))
        assert b"Kowalska" not in encoded


def _tiff(pixels: np.ndarray[Any, Any], **tags: int) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        info[{"photometric": 262}[name]] = value
    file = BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", tiffinfo=info)
    return file.getvalue()


def _saved(mode: str, format_: str, pixels: np.ndarray[Any, Any] = NOISE, **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, format_, **options)
    return file.getvalue()


OPAQUE = np.dstack([NOISE, np.full(GREY.shape, 255, np.uint8)])
DEEP = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80
#: Of the colours that Pillow's palette has.
WEBSAFE = NOISE // 51 * 51
TAKEN = {
    "grey": (_saved("L", "PNG", GREY), GREY),
    "grey, TIFF": (_saved("L", "TIFF", GREY), GREY),
    "16 bits": (_saved("I;16", "PNG", DEEP), DEEP),
    "16 bits, TIFF": (_saved("I;16", "TIFF", DEEP), DEEP),
    "16 bits, big-endian": (_tiff(DEEP.astype(">u2")), DEEP),
    "opaque": (_saved("RGBA", "PNG", OPAQUE), NOISE),
    "opaque grey": (_saved("LA", "PNG", GREY), GREY),
    "opaque, TIFF": (_saved("RGBA", "TIFF", OPAQUE), NOISE),
    "bilevel": (_saved("1", "PNG", (GREY > 127).astype(np.uint8) * 255), (GREY > 127).astype(np.uint8) * 255),
    "palette": (_saved("P", "PNG", WEBSAFE), WEBSAFE),
    "deflated": (_saved("RGB", "TIFF", compression="tiff_deflate"), NOISE),
}


@pytest.mark.parametrize("name", TAKEN)
def test_pixels_come_through(sidecar: Make, name: str) -> None:
    content, expected = TAKEN[name]
    dataset = _object(*wrap(content, sidecar(modality="OT")))
    assert np.array_equal(dataset.pixel_array, expected)
    assert dataset.BitsStored == expected.dtype.itemsize * 8


def test_a_tiff_whose_zero_is_white_says_so(sidecar: Make) -> None:
    dataset = _object(*wrap(_tiff(DEEP, photometric=0), sidecar(modality="OT")))
    shown = dataset.pixel_array if dataset.PhotometricInterpretation == "MONOCHROME2" else 65535 - dataset.pixel_array
    with Image.open(BytesIO(_tiff(DEEP, photometric=0))) as image:
        stored = np.asarray(image)
    assert dataset.PhotometricInterpretation == "MONOCHROME1"
    assert np.array_equal(shown, 65535 - stored)


def test_a_jpeg_within_a_tiff_has_lost_something(sidecar: Make) -> None:
    dataset = _object(*wrap(_saved("RGB", "TIFF", compression="jpeg"), sidecar()))
    assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")


def _png(columns: int, rows: int, depth: int, colour: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = columns.to_bytes(4, "big") + rows.to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    data = zlib.compress(bytes(2000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _pages(format_: str) -> bytes:
    file = BytesIO()
    page = Image.fromarray(NOISE)
    page.save(file, format_, save_all=True, append_images=[Image.fromarray(255 - NOISE)])
    return file.getvalue()


REFUSED = {
    "transparent": (_saved("RGBA", "PNG", np.dstack([NOISE, GREY])), "transparent in places"),
    "transparent by a key": (_saved("L", "PNG", GREY, transparency=int(GREY[0, 0])), "transparent in places"),
    "transparent palette": (_saved("P", "PNG", transparency=bytes(256)), "transparent in places"),
    "CMYK": (_saved("CMYK", "JPEG"), "CMYK, for printing"),
    "CMYK, TIFF": (_saved("CMYK", "TIFF"), "CMYK, for printing"),
    "Lab": (_saved("LAB", "TIFF"), "colour space Lab"),
    "fractions": (_saved("F", "TIFF", GREY), "fractions"),
    "32 bits": (_saved("I", "TIFF", GREY), "32 bits per pixel"),
    "colour of 16 bits": (_png(8, 8, 16, 2), "more than 8 bits per colour"),
    "pages": (_pages("TIFF"), "several pages"),
    "animated": (_pages("PNG"), "several pages"),
    "another format": (_saved("RGB", "BMP"), "no JPEG, PNG or TIFF"),
    "noise": (b"noise" * 99, "no JPEG, PNG or TIFF"),
    "empty": (b"", "no JPEG, PNG or TIFF"),
    "cut off": (_saved("RGB", "PNG")[:900], "or broken"),
    "cut off, TIFF": (_saved("RGB", "TIFF")[:900], "or broken"),
    "cut off, JPEG": (_saved("RGB", "JPEG")[:900], "cut off"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_single_meaning_is_refused_in_words(sidecar: Make, name: str) -> None:
    content, words = REFUSED[name]
    with pytest.raises(Refused, match=words):
        wrap(content, sidecar())


@pytest.mark.parametrize("modality", ["XC", "OP"])
def test_16_bits_are_for_secondary_captures(sidecar: Make, modality: str) -> None:
    with pytest.raises(Refused, match="16 bits per pixel"):
        wrap(TAKEN["16 bits"][0], sidecar(modality=modality, **KINDS[modality]))


def test_a_bomb_is_refused_before_it_is_decoded(sidecar: Make, picture: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    jpeg = picture()
    at = jpeg.index(b"\xff\xc0") + 5
    stretched = jpeg[:at] + b"\xff" * 4 + jpeg[at + 4 :]
    for content in (_png(60_000, 60_000, 8, 2), _png(12_000, 12_000, 1, 0), _png(65_536, 1, 8, 0), stretched):
        with pytest.raises(TooLarge, match="pixels"):
            wrap(content, sidecar())
    assert raster.MAX_PIXELS < 12_000 * 12_000


fields = st.fixed_dictionaries(
    {},
    optional={
        "instance_number": st.integers(1, 2**31 - 1),
        "accession_number": st.text(
            st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=16
        ).filter(lambda text: "\\" not in text),
        "laterality": st.sampled_from("RLB"),
        "acquired_at": st.datetimes().map(lambda instant: instant.isoformat()),
        "patient": st.builds(
            lambda id_, name: {"id": id_, "name": name},
            st.text("abc ü漢-", min_size=1, max_size=20).map(str.strip).filter(bool),
            st.text("abc^ ü漢", min_size=1, max_size=20).map(str.strip).filter(lambda t: t and t.count("^") < 5),
        ),
    },
)


@given(fields=fields, modality=st.sampled_from(list(KINDS)), format_=st.sampled_from(["JPEG", "PNG", "TIFF"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_picture_and_sidecar_give_the_same_bytes(
    sidecar: Make, picture: Make, fields: dict[str, object], modality: str, format_: str
) -> None:
    content, told = picture(format_), sidecar(**({"modality": modality} | KINDS[modality] | fields))
    rearranged = json.dumps(dict(reversed(json.loads(told).items())), indent=3).encode()
    once, again = wrap(content, told), wrap(content, rearranged)
    assert once == again
    dataset = _object(*once)
    assert str(dataset.PatientID) == json.loads(told)["patient"]["id"]
    assert str(dataset.PatientName).rstrip("^ ") == json.loads(told)["patient"]["name"].rstrip("^ ")
    assert dataset.AccessionNumber == json.loads(told)["accession_number"]


def test_what_differs_has_another_uid_and_what_belongs_together_the_same(sidecar: Make, picture: Make) -> None:
    def uids(content: bytes, **fields: object) -> tuple[str, str, str]:
        dataset = _object(*wrap(content, sidecar(**fields)))
        return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID

    study, series, instance = uids(picture())
    assert uids(picture(quality=30))[:2] == (study, series)
    assert uids(picture(quality=30))[2] != instance
    assert uids(picture(), laterality="R")[:2] == (study, series)
    assert uids(picture(), laterality="R")[2] != instance
    assert uids(picture(), accession_number="other")[0] != study
    assert uids(picture(), patient={"id": "other"})[0] != study
    assert uids(picture(), device={"manufacturer": "other"})[0] == study
    assert uids(picture(), device={"manufacturer": "other"})[1] != series
    assert uids(picture(), study_uid="1.2.3", series_uid="1.2.4")[:2] == ("1.2.3", "1.2.4")


@pytest.mark.parametrize("modality", KINDS)
def test_what_is_known_of_it_on_the_log(
    tmp_path: Path,
    sidecar: Make,
    picture: Make,
    modality: str,
    intake: Intake,
    images: Callable[[], list[ImageEvent]],
    identities: Callable[[], list[Identity]],
) -> None:
    (tmp_path / "1.jpg").write_bytes(picture(exif=_exif(1)))
    (tmp_path / "1.json").write_bytes(sidecar(modality=modality, **KINDS[modality], series_description="Kowalska arm"))
    (result,) = publish_paths([tmp_path], intake)
    assert result.reason is None
    (event,) = images()
    header = dcmread(BytesIO(event.payload))
    for secret in (b"Kowalska", b"MRN-4711", b"ACC-77", b"SN-0815", b"19700331", b"20260501"):
        assert secret not in event.payload
    assert (event.modality, event.burned_in_annotation) == (modality, False)
    assert event.body_part == ("SKIN" if modality == "XC" else None)
    assert header.get("ImageLaterality") == (None if modality == "OT" else "L")
    assert header.PatientSex == "F"
    assert event.acquired_at is not None
    assert header.pixel_array.shape == (24, 32, 3)
    if modality == "XC":
        assert header.AnatomicRegionSequence[0].CodeValue == "39937001"
    named = {name: value for identity in identities() for name, value in identity.attributes.items()}
    assert (named["PatientID"], named["AccessionNumber"]) == ("MRN-4711", "ACC-77")


def test_a_site_that_keeps_identities_has_the_original_s_digest(
    tmp_path: Path,
    sidecar: Make,
    picture: Make,
    publisher: Any,
    settings: Settings,
    images: Callable[[], list[ImageEvent]],
) -> None:
    (tmp_path / "1.jpg").write_bytes(picture())
    (tmp_path / "1.json").write_bytes(sidecar())
    list(publish_paths([tmp_path], Intake(publisher, None, settings)))
    (event,) = images()
    header = dcmread(BytesIO(event.payload))
    assert (header.PatientName, header.DeviceSerialNumber) == ("Kowalska^Zofia", "SN-0815")
    assert "SHA-256" in header.DerivationDescription


def test_no_library_logs_whose_it_is(
    sidecar: Make, picture: Make, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        wrap(picture(), sidecar(patient={"id": "4711", "name": "Kowalska"}))
    said = caplog.text + str(logs) + "".join(capsys.readouterr())
    assert "Kowalska" not in said


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_to_its_bytes_it_is_wrapped_or_refused(
    sidecar: Make, picture: Make, data: st.DataObject
) -> None:
    content = bytearray(picture(data.draw(st.sampled_from(["JPEG", "PNG", "TIFF"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        encoded, syntax = wrap(bytes(content), sidecar())
    except Refused:
        return
    assert _object(encoded, syntax).Rows > 0
