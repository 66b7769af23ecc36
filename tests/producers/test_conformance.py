"""The conformance statement says what the code does."""

import re
from pathlib import Path

import pytest

from producers.association import ACSE_SECONDS, MAX_PDU_BYTES, NETWORK_SECONDS
from producers.commitment.reporter import GIVE_UP_SECONDS
from producers.commitment.statuses import ActionStatus, FailureReason
from producers.dicom_server import HANDSHAKE_SECONDS
from producers.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from producers.occupancy import SPARE_CONNECTIONS
from producers.statuses import StoreStatus
from radiolog.settings import Settings

STATEMENT = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
ANSWERED = {
    StoreStatus.SUCCESS,
    StoreStatus.OUT_OF_RESOURCES,
    StoreStatus.TOO_LARGE,
    StoreStatus.SOP_CLASS_MISMATCH,
    StoreStatus.CANNOT_UNDERSTAND,
}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Implementation Class UID", str(IMPLEMENTATION_CLASS_UID)),
        ("Implementation Version Name", IMPLEMENTATION_VERSION),
        ("Maximum PDU length received", f"{MAX_PDU_BYTES} bytes"),
        ("ARTIM", f"{ACSE_SECONDS:.0f} s"),
        ("TLS handshake", f"{HANDSHAKE_SECONDS:.0f} s"),
        ("a PDU that has begun", f"{NETWORK_SECONDS:.0f} s"),
        ("Associations at a time", f"{Settings.model_fields['dicom_associations'].default} in all"),
        ("Associations at a time", f"{Settings.model_fields['dicom_peer_associations'].default} of one"),
    ],
)
def test_association_policies(line: str, value: str) -> None:
    (row,) = [row for row in STATEMENT.splitlines() if row.startswith(f"| {line}")]
    assert value in row


def test_spare_connections() -> None:
    assert f"More connections than {SPARE_CONNECTIONS} beyond" in STATEMENT


def test_statuses_of_c_store() -> None:
    section = STATEMENT.partition("### 3.4")[2].partition("### 3.5")[0]
    assert {int(code, 16) for code in re.findall(r"^\| 0x([0-9A-F]{4}) \|", section, re.MULTILINE)} == ANSWERED


def test_statuses_of_storage_commitment() -> None:
    section = STATEMENT.partition("### 3.5")[2].partition("## 4")[0]
    statuses, _, reasons = section.partition("The report is")
    assert {int(code, 16) for code in re.findall("0x([0-9A-F]{4})", statuses)} == set(ActionStatus)
    assert {int(code, 16) for code in re.findall("0x([0-9A-F]{4})", reasons)} == set(FailureReason)
    assert f"tried for {GIVE_UP_SECONDS / 3600:.0f} hours" in section


def test_settings_that_it_names_exist() -> None:
    named = {name.lower() for name in re.findall(r"RADIOLOG_([A-Z_]+[A-Z])", STATEMENT)}
    assert named <= set(Settings.model_fields)
