from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from producers.dates import acquired_at, is_time, shifted


@given(st.dates(min_value=date(1800, 1, 1)), st.integers(1, 3650))
def test_a_date_moves_back_by_the_days(day: date, days: int) -> None:
    moved = shifted(f"{day:%Y%m%d}", days)
    assert moved is not None
    assert datetime.strptime(moved, "%Y%m%d").date() == day - timedelta(days=days)


@given(st.dates(min_value=date(1900, 1, 1)), st.dates(min_value=date(1900, 1, 1)), st.integers(1, 3650))
def test_intervals_between_dates_stay(one: date, other: date, days: int) -> None:
    moved = [shifted(f"{day:%Y%m%d}", days) for day in (one, other)]
    days_of = [datetime.strptime(str(text), "%Y%m%d").date() for text in moved]
    assert days_of[1] - days_of[0] == other - one


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("20240310", "20240309"),
        ("2024.03.10", "20240309"),
        ("20240301123456.789+0100", "20240229123456.789+0100"),
        ("2024030112", "2024022912"),
        ("202403", "202402"),
        ("2024", "2023"),
    ],
)
def test_precision_and_time_of_day_stay(text: str, moved: str) -> None:
    assert shifted(text, 1) == moved


@pytest.mark.parametrize("text", ["", "JANE DOE", "20241399", "20240101-20240201", "2024011", "00010101", "20240230"])
def test_what_is_no_date_is_not_kept(text: str) -> None:
    assert shifted(text, 1) is None


@pytest.mark.parametrize("text", ["12", "1234", "123456", "123456.789", "12:34:56"])
def test_times(text: str) -> None:
    assert is_time(text)


@pytest.mark.parametrize("text", ["", "DOE", "1234567", "123456.", "12 Main St"])
def test_what_is_no_time(text: str) -> None:
    assert not is_time(text)


def _header(**elements: str) -> Dataset:
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


def test_acquisition_time_with_an_offset() -> None:
    header = _header(AcquisitionDate="20240310", AcquisitionTime="120000.5")
    assert acquired_at(header, "+0130") == datetime(2024, 3, 10, 10, 30, 0, 500_000, UTC)


def test_the_elements_own_offset_counts_first() -> None:
    header = _header(AcquisitionDateTime="20240310120000-0500", AcquisitionDate="19990101")
    assert acquired_at(header, "+0100") == datetime(2024, 3, 10, 17, tzinfo=UTC)


def test_content_date_stands_in() -> None:
    assert acquired_at(_header(ContentDate="20240310"), "+0000") == datetime(2024, 3, 10, tzinfo=UTC)


def test_without_an_offset_the_machines_zone_counts() -> None:
    found = acquired_at(_header(AcquisitionDateTime="20240310120000"), "")
    assert found == datetime(2024, 3, 10, 12).astimezone()


@pytest.mark.parametrize("text", ["2024", "99999999", "20240310250000"])
def test_a_clock_that_makes_no_sense_says_nothing(text: str) -> None:
    assert acquired_at(_header(AcquisitionDateTime=text), "") is None
