import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from producers.pseudonyms import MAX_SHIFT_DAYS, Pseudonyms

KEY = b"k" * 32


@given(st.text(), st.text())
def test_patient_tokens_are_short_and_stable(patient_id: str, issuer: str) -> None:
    token = Pseudonyms(KEY).patient(patient_id, issuer)
    assert token == Pseudonyms(KEY).patient(patient_id, issuer)
    assert re.fullmatch(r"[A-Z2-7]{16}", token)


@given(st.text(max_size=64))
def test_uids_are_valid_and_stable(uid: str) -> None:
    pseudonym = Pseudonyms(KEY).uid(uid)
    assert UID(pseudonym).is_valid
    assert pseudonym.startswith("2.25.")
    assert int(pseudonym.removeprefix("2.25.")).bit_length() > 76
    assert pseudonym == Pseudonyms(KEY).uid(uid)


@given(st.text(max_size=20))
def test_dates_move_between_one_day_and_ten_years(patient: str) -> None:
    assert 1 <= Pseudonyms(KEY).shift_days(patient) <= MAX_SHIFT_DAYS


def test_each_patient_has_a_shift_of_their_own() -> None:
    shifts = {Pseudonyms(KEY).shift_days(f"P{number}") for number in range(100)}
    assert len(shifts) > 90
    assert Pseudonyms(KEY).shift_days("P1") != Pseudonyms(b"j" * 32).shift_days("P1")


def test_another_key_gives_other_pseudonyms() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(b"j" * 32)
    assert one.patient("4711") != other.patient("4711")
    assert one.uid("1.2.3") != other.uid("1.2.3")


def test_two_issuers_know_two_patients_by_one_id() -> None:
    names = Pseudonyms(KEY)
    assert len({names.patient("4711", issuer) for issuer in ("", "north", "south")}) == 3


def test_parts_do_not_run_together() -> None:
    assert Pseudonyms(KEY).patient("12", "3") != Pseudonyms(KEY).patient("1", "23")


def test_padding_does_not_make_another_patient() -> None:
    assert Pseudonyms(KEY).patient("4711 ") == Pseudonyms(KEY).patient("4711")


def test_patients_without_id_stay_apart() -> None:
    names = Pseudonyms(KEY)
    assert names.unnamed_patient("1.2.3") != names.unnamed_patient("1.2.4")
    assert names.unnamed_patient("1.2.3") != names.patient("1.2.3")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Pseudonyms(b"short")
