"""DICOM dates and times (PS3.5 section 6.2): shifting them, telling them from other text, reading them as instants."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

from pydicom import Dataset

from producers.values import text_of

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?")
_TIME = re.compile(r"([01]\d|2[0-3])(:?[0-5]\d(:?([0-5]\d|60)(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")

#: Where the device's time of acquisition stands, best first: one DT, or a pair of DA and TM.
_ACQUISITION = (
    ("AcquisitionDateTime", None),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
)


def shifted(text: str, days: int) -> str | None:
    """A DA or DT value, `days` earlier and as precise as before; None where `text` is neither, or leaves the calendar.

    A month or year alone moves as its first day. The time of day and the offset from UTC stay.
    """
    match = _DATE.fullmatch(text.strip()) or _DATE_TIME.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, *rest = match.groups(default="")
    if not day and rest and rest[0]:
        return None
    try:
        earlier = date(int(year), int(month or 1), int(day or 1)) - timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    written = f"{earlier.year:04d}{earlier.month:02d}{earlier.day:02d}"
    return written[: len(year + month + day)] + "".join(rest)


def is_time(text: str) -> bool:
    """Whether `text` is a TM value, the colons of ACR-NEMA allowed."""
    return _TIME.fullmatch(text.strip()) is not None


def acquired_at(header: Dataset, utc_offset: str) -> datetime | None:
    """The device's time of acquisition in UTC, or None where the header does not tell it.

    Args:
        header: where Acquisition Date Time and its like are read.
        utc_offset: Timezone Offset From UTC (0008,0201), e.g. "+0100"; without it the device's clock is taken to run
            in the zone of this machine.
    """
    for date_keyword, time_keyword in _ACQUISITION:
        text = text_of(header, date_keyword)
        if time_keyword is not None:
            text = _DATE.sub(r"\1\2\3", text) + text_of(header, time_keyword).replace(":", "") if text else ""
        if (instant := _instant(text, utc_offset)) is not None:
            return instant
    return None


def _instant(text: str, utc_offset: str) -> datetime | None:
    match = _DATE_TIME.fullmatch(text)
    if match is None or not match[3]:
        return None
    whole, _, fraction = (match[4] or "").partition(".")
    try:
        naive = datetime.strptime(f"{match[1]}{match[2]}{match[3]}{whole:0<6}", "%Y%m%d%H%M%S")
        naive = naive.replace(microsecond=int(f"{fraction:0<6}"))
        zone = _zone(match[5] or utc_offset)
        return (naive.replace(tzinfo=zone) if zone else naive.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _zone(offset: str) -> timezone | None:
    match = _OFFSET.fullmatch(offset.strip())
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
