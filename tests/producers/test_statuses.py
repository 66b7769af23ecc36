import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from producers.errors import BrokenObject, TooLarge, WrongSopClass
from producers.refusal import refusal
from producers.statuses import StoreStatus, printable
from radiolog.log.errors import DeliveryUnknown, LogRefused, LogUnavailable


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BrokenObject("cut off"), 0xC000),
        (WrongSopClass("other"), 0xA900),
        (TooLarge("huge"), 0xA701),
        (LogUnavailable("down"), 0xA700),
        (DeliveryUnknown("late"), 0xA700),
        (LogRefused("denied"), 0xA700),
        (KeyError("Doe^Jane"), 0xC000),
    ],
)
def test_each_failure_has_its_status(error: Exception, status: int) -> None:
    assert refusal(error)[0] == status


def test_a_fault_of_ours_quotes_nothing() -> None:
    assert "Doe" not in refusal(KeyError("Doe^Jane"))[1]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0x0000, StoreStatus.SUCCESS),
        (0xA702, StoreStatus.OUT_OF_RESOURCES),
        (0xA9FF, StoreStatus.SOP_CLASS_MISMATCH),
        (0xB007, StoreStatus.WARNING),
        (0xC123, StoreStatus.CANNOT_UNDERSTAND),
        (0x0110, StoreStatus.CANNOT_UNDERSTAND),
    ],
)
def test_codes_of_other_peers_fall_into_their_range(code: int, status: StoreStatus) -> None:
    assert StoreStatus(code) is status


def test_what_is_no_store_status_is_refused() -> None:
    with pytest.raises(ValueError):
        StoreStatus(0xFF00)


def test_every_failure_is_one_of_the_storage_service() -> None:
    ours = set(StoreStatus) - {StoreStatus.NOT_AUTHORISED, StoreStatus.SOP_CLASS_NOT_SUPPORTED}
    assert ours <= set(STORAGE_SERVICE_CLASS_STATUS)


@given(st.text())
def test_comments_fit_their_element(comment: str) -> None:
    written = printable(comment)
    assert len(written) <= 64
    assert written.isascii()
    assert "\\" not in written
    assert all(character.isprintable() for character in written)
