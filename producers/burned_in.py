"""Whether the pixels may show text that identifies the patient: the header's word, and where it says nothing, a guess.

Pixels are not looked at (Clean Pixel Data, PS3.15 section E.3.1, is not taken). The guess leans to yes: that costs
whoever passes images on a look at more of them than need be, and the other error costs a patient the name.
"""

from typing import Final

from pydicom import Dataset

from producers.values import text_of, texts_of

#: SOP classes and those below them: devices write names into frames, and photographs show labels and faces.
_FAMILIES: Final = (
    "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame
    "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound, Enhanced Ultrasound Volume
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture: screenshots, scanned film and paper
    "1.2.840.10008.5.1.4.1.1.77.1",  # visible light: endoscopy, photography, ophthalmology, slides with their labels
)
#: Modalities whose pixels are made of pages, screens or photographs, whatever SOP class carries them.
_MODALITIES: Final = frozenset({"DOC", "ES", "GM", "HC", "OT", "SC", "SM", "US", "XC"})
#: Conversion Type (0008,0064) of what was scanned, drawn or captured from a screen (PS3.3 section C.8.6.1).
_CONVERSIONS: Final = frozenset({"DF", "DRW", "DV", "SD", "SI", "SYN", "WSD"})
#: Image Type (0008,0008) of what workstations make out of what they show.
_IMAGE_TYPES: Final = frozenset({"SCREEN SAVE", "SCREENSHOT", "REPORT", "PATIENT_PROTOCOL", "DOSE INFO", "DOSE_INFO"})
_OVERLAYS: Final = range(0x6000, 0x6100, 2)
_BIT_POSITION: Final = 0x0102
_DATA: Final = 0x3000


def may_show_text(original: Dataset) -> bool | None:
    """Whether the pixels of an object may show text.

    Args:
        original: its header as it came, not yet de-identified.

    Returns:
        Burned In Annotation (0028,0301) where it is YES or NO; without it, True for kinds of objects that often show
        text, and None for others. True also for pixels whose unused bits hold an overlay plane, whatever else is said.
    """
    if _has_overlay_in_pixels(original):
        return True
    said = {"YES": True, "NO": False}.get(text_of(original, "BurnedInAnnotation").upper())
    if said is not None:
        return said
    return True if _is_of_a_kind_that_does(original) else None


def _is_of_a_kind_that_does(header: Dataset) -> bool:
    sop_class = text_of(header, "SOPClassUID")
    return (
        any(sop_class == family or sop_class.startswith(f"{family}.") for family in _FAMILIES)
        or not _MODALITIES.isdisjoint(texts_of(header, "Modality"))
        or not _CONVERSIONS.isdisjoint(texts_of(header, "ConversionType"))
        or not _IMAGE_TYPES.isdisjoint(texts_of(header, "ImageType"))
    )


def _has_overlay_in_pixels(header: Dataset) -> bool:
    """Whether an overlay of the old kind lies in the pixel data (PS3.3 section C.9.2.1.1, retired in 2004)."""
    groups = [tag.group for tag in header.keys() if tag.element == _BIT_POSITION]  # noqa: SIM118 - iterating parses values
    return any(group in _OVERLAYS and (group << 16 | _DATA) not in header for group in groups)
