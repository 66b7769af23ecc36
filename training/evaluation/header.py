"""What a DICOM header says of the subgroup that an image belongs to."""

import re
from typing import Final

from pydicom import Dataset

_SEXES: Final = {"F": "female", "M": "male", "O": "other"}  # PS3.3 C.7.1.1
_AGE: Final = re.compile(r"(\d{3})([DWMY])")  # value representation AS, PS3.5 section 6.2
_DAYS: Final = {"D": 1.0, "W": 7.0, "M": 30.44, "Y": 365.25}
_BANDS: Final = ((1, "under 1"), (6, "1 to 5"), (18, "6 to 17"), (40, "18 to 39"), (65, "40 to 64"), (80, "65 to 79"))
_OLDEST: Final = "80 and over"
_MOST_CHARACTERS: Final = 40


def attributes(header: Dataset) -> dict[str, str]:
    """Sex, age band in years and manufacturer, as far as the header has them.

    A band and not the age, and nothing that names a patient.
    """
    found = {
        "sex": _SEXES.get((text(header, "PatientSex") or "").upper()),
        "age": age_band(text(header, "PatientAge")),
        "device": (text(header, "Manufacturer") or "")[:_MOST_CHARACTERS],
    }
    return {name: value for name, value in found.items() if value}


def age_band(age: str | None) -> str | None:
    """The band of a Patient's Age (0010,1010) such as 064Y or 011M; None where it is none."""
    match = _AGE.fullmatch((age or "").strip().upper())
    if match is None:
        return None
    years = int(match[1]) * _DAYS[match[2]] / _DAYS["Y"]
    return next((band for below, band in _BANDS if years < below), _OLDEST)


def text(header: Dataset, keyword: str) -> str | None:
    """An attribute as text; None where it is absent, empty, or cannot be read."""
    try:
        value = header.get(keyword)
    except Exception:  # pydicom parses a value only now, and raises what it likes where that fails
        return None
    return str(value).strip() or None if value is not None else None
