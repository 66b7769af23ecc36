"""When the DICOM port may be opened, and the TLS that both sides speak (PS3.15 section B, BCP 195)."""

import ssl
from pathlib import Path

from radiolog.loopback import is_loopback
from radiolog.settings import Settings, SettingsError


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Mutual TLS for the adapter, or None where plain TCP will do.

    Raises:
        SettingsError: the port would be open to a network that nothing protects, or the TLS settings are incomplete.
    """
    paths = (settings.dicom_tls_certificate, settings.dicom_tls_key, settings.dicom_tls_ca)
    certificate, key, authority = paths
    if certificate is not None and key is not None and authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(certificate, key)
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"RADIOLOG_DICOM_TLS_*: a PEM file cannot be read ({error.strerror or error})"
            ) from None
        return context
    if any(paths):
        raise SettingsError(
            "TLS needs RADIOLOG_DICOM_TLS_CERTIFICATE, RADIOLOG_DICOM_TLS_KEY and RADIOLOG_DICOM_TLS_CA, all three"
        )
    if not settings.dicom_trusted_network and not is_loopback(settings.dicom_host):
        raise SettingsError(
            f"RADIOLOG_DICOM_HOST={settings.dicom_host} is reachable from other machines and DICOM knows no passwords: "
            "set RADIOLOG_DICOM_TLS_CERTIFICATE, _KEY and _CA for mutual TLS, or listen on 127.0.0.1. "
            "RADIOLOG_DICOM_TRUSTED_NETWORK=true is for a container whose port is published on loopback alone."
        )
    return None


def client_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Mutual TLS for a device: it shows `certificate`, and wants one of `authority` that names the peer's host.

    Raises:
        SettingsError: a PEM file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"TLS: a PEM file cannot be read ({error.strerror or error})") from None
    return context
