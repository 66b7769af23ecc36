"""Pictures decoded to pixels, where they cannot be carried as they are: PNG, TIFF, and JPEG that is not baseline.

What has no single meaning is refused in words rather than guessed at: transparency, CMYK, several pages.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, ImageFile

from producers.errors import BrokenObject, Refused, TooLarge

#: More than any camera of a clinic makes; three bytes each are 300 MB.
MAX_PIXELS: Final = 100_000_000
#: The most that Rows and Columns can say, which are of VR US (PS3.5 section 6.2).
_MAX_SIDE: Final = 0xFFFF
_FORMATS: Final = ("JPEG", "PNG", "TIFF")
#: What EXIF's Orientation (0x0112) asks for, as CIPA DC-008 section 4.6.5.1.6 has it.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WORDS: Final = {
    "CMYK": "the picture is CMYK, for printing: export it as RGB",
    "LAB": "the picture is in the colour space Lab: export it as RGB",
    "I": "the picture has 32 bits per pixel: export it with 8 or 16",
    "F": "the picture's pixels are fractions: export it with 8 or 16 bits",
}
_LOSSY: Final = frozenset({"jpeg", "tiff_jpeg"})
_PHOTOMETRIC, _BITS, _MIN_IS_WHITE = 262, 258, 0
_PNG_DEPTH_AT: Final = 24

# Pillow warns of large pictures, whose size is checked here before a pixel is decoded, and of odd metadata.
warnings.filterwarnings("ignore", module="PIL")


@dataclass(frozen=True, slots=True)
class Raster:
    """Pixels, upright.

    Attributes:
        pixels: uint8 [rows columns], uint16 [rows columns], or uint8 [rows columns 3] in RGB.
        is_inverted: whether 0 is white.
        is_lossy: whether the file that they came in says that they were compressed with loss.
    """

    pixels: np.ndarray[Any, np.dtype[Any]]
    is_inverted: bool = False
    is_lossy: bool = False


def jpeg_orientation(content: bytes) -> int:
    """EXIF's Orientation of a JPEG, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        with Image.open(BytesIO(content), formats=["JPEG"]) as image:
            return _orientation(image)
    except Exception:  # Pillow raises whatever malformed metadata lead it to
        return 1


def check_size(columns: int, rows: int) -> None:
    """Whether a picture of this size may be decoded, here or by whoever reads it.

    Raises:
        TooLarge: it may not.
    """
    if max(columns, rows) > _MAX_SIDE:
        raise TooLarge(f"a picture of {columns} × {rows} pixels; DICOM has room for {_MAX_SIDE} along a side")
    if columns * rows > MAX_PIXELS:
        raise TooLarge(f"a picture of {columns} × {rows} pixels; {MAX_PIXELS} are taken")


def decode(content: bytes, orientation: int = 1) -> Raster:
    """The pixels of the only picture in the content of a file, upright.

    Args:
        content: of the file.
        orientation: of a JPEG whose metadata were taken away; PNG and TIFF are turned as their own ask.

    Raises:
        BrokenObject: it is broken, or nothing that is read; the message says how to export it.
        TooLarge: it has more than `MAX_PIXELS`.
    """
    with _picture_at_fault(), Image.open(BytesIO(content), formats=_FORMATS) as image:
        check_size(*image.size)
        _check(image, content)
        is_inverted = image.format == "TIFF" and _is_white_zero(image)
        is_lossy = image.format == "JPEG" or image.info.get("compression") in _LOSSY
        image.load()
        if image.format == "PNG":  # not before: Pillow decodes one to find its EXIF; TIFF it turns by itself
            orientation = _orientation(image)
        plain = _plain(image)
        if orientation in _TURNS:
            plain = plain.transpose(_TURNS[orientation])
        return Raster(_array(plain), is_inverted, is_lossy)


def _orientation(image: ImageFile.ImageFile) -> int:
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in _TURNS else 1


def _check(image: ImageFile.ImageFile, content: bytes) -> None:
    if getattr(image, "is_animated", False):
        raise BrokenObject("the file has several pages or pictures: export each as a file of its own")
    depth = content[_PNG_DEPTH_AT] if image.format == "PNG" else max(_bits(image), default=8)
    if depth > 8 and not image.mode.startswith("I;16"):
        raise BrokenObject(_WORDS.get(image.mode, "the picture has more than 8 bits per colour: export it with 8"))


def _bits(image: ImageFile.ImageFile) -> tuple[int, ...]:
    tags = getattr(image, "tag_v2", {})
    return tuple(tags.get(_BITS, ()))


def _is_white_zero(image: ImageFile.ImageFile) -> bool:
    """Pillow inverts 1 and 8 bits itself, and leaves 16 as they are."""
    return image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _MIN_IS_WHITE


def _plain(image: Image.Image) -> Image.Image:
    """The picture as grey or RGB."""
    if "transparency" in image.info or image.mode in {"LA", "La", "PA", "RGBA", "RGBa"}:
        return _opaque(image)
    match image.mode:
        case "1":
            return image.convert("L")
        case "P" | "YCbCr":
            return image.convert("RGB")
        case "L" | "RGB":
            return image
        case mode if mode.startswith("I;16"):
            return image
    raise BrokenObject(_WORDS.get(image.mode, "the picture's colours are none that are read: export it as RGB"))


def _opaque(image: Image.Image) -> Image.Image:
    grey = image.mode in {"L", "LA", "La"}
    whole = image.convert("RGBA")
    lowest, _ = whole.getchannel("A").getextrema()
    if lowest != 255:
        raise BrokenObject("the picture is transparent in places: export it without an alpha channel")
    return whole.getchannel("R") if grey else whole.convert("RGB")


def _array(image: Image.Image) -> np.ndarray[Any, np.dtype[Any]]:
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels, dtype="<u2" if pixels.dtype.itemsize == 2 else np.uint8)


@contextmanager
def _picture_at_fault() -> Iterator[None]:
    """What Pillow makes of malformed bytes: it raises whatever these lead it to.

    Raises:
        BrokenObject: in place of it.
    """
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise TooLarge(f"the picture has more than the {MAX_PIXELS} pixels that are taken") from None
    except Exception as error:
        raise BrokenObject(f"no JPEG, PNG or TIFF, or broken ({type(error).__name__})") from None
