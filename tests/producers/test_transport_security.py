import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.device import Device, DeviceError
from producers.dicom_scp import DicomAdapter
from producers.intake import Intake
from producers.statuses import StoreStatus
from producers.transport_security import client_context
from radiolog.loopback import is_loopback
from radiolog.settings import Settings, SettingsError
from schemas.events import ImageEvent
from tests.certificates import Authority, Pair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "hospital")


@pytest.fixture
def secured(authority: Authority, make_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    certificate, key = authority.issue("adapter")

    def make(**overrides: object) -> Settings:
        tls = {"dicom_tls_certificate": certificate, "dicom_tls_key": key, "dicom_tls_ca": authority.path}
        return make_settings(**(tls | overrides))

    return make


def _client(authority: Authority, pair: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


def test_mutual_tls(
    secured: Callable[..., Settings],
    authority: Authority,
    intake: Intake,
    sample: Callable[[str], Path],
    images: Callable[[], list[ImageEvent]],
) -> None:
    with DicomAdapter(secured(), intake) as adapter:
        tls = _client(authority, authority.issue("ct"))
        device = Device("127.0.0.1", adapter.port, "CT_1", tls=tls)
        assert device.echo() is StoreStatus.SUCCESS
        assert [answer.status for answer in device.send([sample("CT_small.dcm")])] == [StoreStatus.SUCCESS]
    assert len(images()) == 1


def test_a_stranger_gets_no_association(
    secured: Callable[..., Settings], authority: Authority, intake: Intake, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "elsewhere").issue("stranger")
    with DicomAdapter(secured(), intake) as adapter:
        for tls in (None, _client(authority, None), _client(authority, stranger)):
            with pytest.raises(DeviceError):
                Device("127.0.0.1", adapter.port, "CT_1", tls=tls).echo()
        known = _client(authority, authority.issue("ct"))
        assert Device("127.0.0.1", adapter.port, "CT_1", tls=known).echo() is StoreStatus.SUCCESS


def test_a_silent_peer_keeps_nobody_waiting(
    secured: Callable[..., Settings], authority: Authority, intake: Intake
) -> None:
    with (
        DicomAdapter(secured(), intake) as adapter,
        socket.create_connection(("127.0.0.1", adapter.port)),
    ):
        tls = _client(authority, authority.issue("ct"))
        assert Device("127.0.0.1", adapter.port, "CT_1", tls=tls).echo() is StoreStatus.SUCCESS


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "pacs.example"])
def test_off_loopback_nothing_starts_without_tls(
    host: str, make_settings: Callable[..., Settings], intake: Intake
) -> None:
    with pytest.raises(SettingsError, match="RADIOLOG_DICOM_TLS_CERTIFICATE, _KEY and _CA"):
        DicomAdapter(make_settings(dicom_host=host), intake)


def test_off_loopback_with_tls_or_in_a_trusted_network(
    secured: Callable[..., Settings], make_settings: Callable[..., Settings], intake: Intake
) -> None:
    for settings in (
        secured(dicom_host="0.0.0.0"),
        make_settings(dicom_host="0.0.0.0", dicom_trusted_network=True),
    ):
        with DicomAdapter(settings, intake) as adapter:
            assert adapter.port > 0


@pytest.mark.parametrize("missing", ["dicom_tls_certificate", "dicom_tls_key", "dicom_tls_ca"])
def test_half_of_the_tls_settings_is_refused(missing: str, secured: Callable[..., Settings], intake: Intake) -> None:
    with pytest.raises(SettingsError, match="all three"):
        DicomAdapter(secured(**{missing: None}), intake)


def test_a_pem_file_that_cannot_be_read(secured: Callable[..., Settings], intake: Intake, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="PEM file cannot be read"):
        DicomAdapter(secured(dicom_tls_ca=tmp_path / "none.pem"), intake)


def test_a_device_needs_all_of_its_pem_files(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("ct")
    assert client_context(certificate, key, authority.path).verify_mode is ssl.CERT_REQUIRED
    for paths in ((tmp_path / "none", key, authority.path), (certificate, key, tmp_path / "none")):
        with pytest.raises(SettingsError, match="PEM file cannot be read"):
            client_context(*paths)


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("", False), ("10.0.0.1", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
