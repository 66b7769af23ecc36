import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from producers.device import Device, DeviceError
from producers.dicom_scp import DicomAdapter
from producers.intake import Intake
from producers.statuses import StoreStatus
from producers.transport_security import TLS_1_2_SUITES, client_context
from radiolog.loopback import is_loopback
from radiolog.settings import Settings, SettingsError
from schemas.events import ImageEvent
from tests.certificates import Authority, Pair

NONSENSE = b"\xff" * 10


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


def _shaken(port: int, client: ssl.SSLContext) -> str | None:
    """The cipher suite that a handshake ends with; None where there is no connection in the end."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            client.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
        ):
            # TLS 1.3 tells of a refused certificate after the handshake; who was let in is answered, if with an abort.
            secured.sendall(NONSENSE)
            suite = secured.cipher()
            return suite[0] if suite and secured.recv(1) else None
    except (ssl.SSLError, ConnectionError):
        return None


def _offering(authority: Authority, pair: Pair | None, version: ssl.TLSVersion, suites: str) -> ssl.SSLContext:
    """A client that knows no better than this."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(authority.path)
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


@pytest.fixture(params=["ECDSA", "RSA"])
def signed(
    request: pytest.FixtureRequest, authority: Authority, secured: Callable[..., Settings]
) -> tuple[str, Settings]:
    """Settings with an adapter's key of either kind: cipher suites are of one or the other."""
    if request.param == "ECDSA":
        return request.param, secured()
    certificate, key = authority.issue("rsa", rsa.generate_private_key(65537, 2048))
    return request.param, secured(dicom_tls_certificate=certificate, dicom_tls_key=key)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_profile_and_nothing_else(signed: tuple[str, Settings], authority: Authority, intake: Intake) -> None:
    kind, settings = signed
    pair = authority.issue("ct")
    with DicomAdapter(settings, intake) as adapter:
        for suite in TLS_1_2_SUITES:
            client = _offering(authority, pair, ssl.TLSVersion.TLSv1_2, suite)
            assert _shaken(adapter.port, client) == (suite if kind in suite else None)
        for suite in ("AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES256-SHA384", "AES128-SHA"):
            assert _shaken(adapter.port, _offering(authority, pair, ssl.TLSVersion.TLSv1_2, suite)) is None
        for suite in ("DHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-NULL-SHA", "ECDHE-ECDSA-AES128-SHA", "aNULL"):
            assert _shaken(adapter.port, _offering(authority, pair, ssl.TLSVersion.TLSv1_2, suite)) is None
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            assert _shaken(adapter.port, _offering(authority, pair, version, "ALL")) is None
        newest = _offering(authority, pair, ssl.TLSVersion.TLSv1_3, "ALL")
        assert _shaken(adapter.port, newest) == "TLS_AES_256_GCM_SHA384"


def test_a_short_key_is_refused(secured: Callable[..., Settings], authority: Authority, intake: Intake) -> None:
    short = authority.issue("short", rsa.generate_private_key(65537, 1024))
    with DicomAdapter(secured(), intake) as adapter:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert _shaken(adapter.port, _offering(authority, short, version, "ALL")) is None
            assert _shaken(adapter.port, _offering(authority, authority.issue("ct"), version, "ALL"))
    with pytest.raises(SettingsError, match="its key is too short"):
        DicomAdapter(secured(dicom_tls_certificate=short[0], dicom_tls_key=short[1]), intake)


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
