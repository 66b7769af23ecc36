"""When the DICOM port may be opened, and the TLS it then speaks: profile B.13 of PS3.15, and with it B.12.

B.12 is BCP 195 (RFC 8996, RFC 9325) as it stands: TLS 1.2 or, better, 1.3. B.13, its modification, names the cipher
suites and the lengths of keys, and leaves nothing else; its suites hold those that RFC 9325 recommends. Both ends show
certificates. Of B.13, this lacks the two suites of TLS 1.3 with AES-CCM, which Python's `ssl` can't switch on.
"""

import ssl
from typing import Final

from radiolog.loopback import is_loopback
from radiolog.settings import Settings, SettingsError

#: What a server of the profile has to take under TLS 1.2, the strongest first, by their names in OpenSSL.
TLS_1_2_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-CCM",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM8",
    "ECDHE-ECDSA-AES128-CCM8",
)
#: OpenSSL's level of 112 bits: RSA keys of 2048 bits or more, elliptic curves of 224, and no SHA-1 in certificates.
SECURITY_LEVEL: Final = 2


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Mutual TLS for the adapter, or None where plain TCP will do.

    Raises:
        SettingsError: the port would be open to a network that nothing protects, or the TLS settings are incomplete.
    """
    paths = (settings.dicom_tls_certificate, settings.dicom_tls_key, settings.dicom_tls_ca)
    certificate, key, authority = paths
    if certificate is not None and key is not None and authority is not None:
        context = _profile()
        try:
            context.load_cert_chain(certificate, key)
            context.load_verify_locations(authority)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"RADIOLOG_DICOM_TLS_*: a PEM file cannot be read, or its key is too short ({error.strerror or error})"
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


def _profile() -> ssl.SSLContext:
    """A server that takes what the profile permits, from peers that show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join((*TLS_1_2_SUITES, f"@SECLEVEL={SECURITY_LEVEL}")))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_mode = ssl.CERT_REQUIRED
    return context
