"""When the ports of adapters may be opened, and the TLS they then speak: profile B.13 of PS3.15, and with it B.12.

B.12 is BCP 195 (RFC 8996, RFC 9325) as it stands: TLS 1.2 or, better, 1.3. B.13, its modification, names the cipher
suites and the lengths of keys, and leaves nothing else; its suites hold those that RFC 9325 recommends. On the DICOM
port both ends show certificates. Of B.13, this lacks the two suites of TLS 1.3 with AES-CCM, which Python's `ssl` can't
switch on.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a server, as settings name them.

    Attributes:
        prefix: of the settings' names, e.g. RADIOLOG_DICOM_TLS.
        certificate: the server's chain.
        key: of the first certificate in the chain.
        authority: whose certificates peers must show; None lets in peers without one.
    """

    prefix: str
    certificate: Path | None
    key: Path | None
    authority: Path | None

    @property
    def any_set(self) -> bool:
        """Whether the site means to speak TLS."""
        return any((self.certificate, self.key, self.authority))

    def context(self) -> ssl.SSLContext:
        """TLS as the profile has it, by these files.

        Raises:
            SettingsError: certificate or key is not set, or a file cannot be read.
        """
        if self.certificate is None or self.key is None:
            raise SettingsError(f"TLS needs {self.prefix}_CERTIFICATE and {self.prefix}_KEY")
        context = _profile()
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.authority is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"{self.prefix}_*: a PEM file cannot be read, or its key is too short ({error.strerror or error})"
            ) from None
        return context


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Mutual TLS for the adapter, or None where plain TCP will do.

    Raises:
        SettingsError: the port would be open to a network that nothing protects, or the TLS settings are incomplete.
    """
    files = TlsFiles(
        "RADIOLOG_DICOM_TLS", settings.dicom_tls_certificate, settings.dicom_tls_key, settings.dicom_tls_ca
    )
    if files.certificate and files.key and files.authority:
        return files.context()
    if files.any_set:
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


def http_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS for the STOW-RS adapter, mutual where an authority is set; None where plain HTTP will do.

    Off loopback a peer shows a token or a certificate, and a token only within TLS (RFC 6750 section 5.3).

    Raises:
        SettingsError: the port would be open to a network that nothing protects, or the TLS settings are incomplete.
    """
    files = TlsFiles("RADIOLOG_STOW_TLS", settings.stow_tls_certificate, settings.stow_tls_key, settings.stow_tls_ca)
    context = files.context() if files.any_set else None
    if is_loopback(settings.stow_host):
        return context
    reachable = f"RADIOLOG_STOW_HOST={settings.stow_host} is reachable from other machines"
    if settings.stow_tokens is None and files.authority is None:
        raise SettingsError(
            f"{reachable}: set RADIOLOG_STOW_TOKENS, or RADIOLOG_STOW_TLS_CA for mutual TLS, or listen on 127.0.0.1."
        )
    if context is None and not settings.stow_trusted_network:
        raise SettingsError(
            f"{reachable} and a token must not travel in the clear: set RADIOLOG_STOW_TLS_CERTIFICATE and _KEY, or "
            "listen on 127.0.0.1. RADIOLOG_STOW_TRUSTED_NETWORK=true is for a container whose port is published on "
            "loopback alone."
        )
    return context


def _profile() -> ssl.SSLContext:
    """A server that takes what the profile permits."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join((*TLS_1_2_SUITES, f"@SECLEVEL={SECURITY_LEVEL}")))
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def peer_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS towards `settings.dicom_peers`: the adapter shows its own certificate where it has one, else plain TCP.

    Raises:
        SettingsError: UIDs would go over a network that nothing protects, or a PEM file cannot be read.
    """
    certificate, key, authority = settings.dicom_tls_certificate, settings.dicom_tls_key, settings.dicom_tls_ca
    if certificate and key and authority:
        return client_context(certificate, key, authority)
    remote = [title for title, (host, _) in settings.dicom_peers.items() if not is_loopback(host)]
    if remote and not settings.dicom_trusted_network:
        raise SettingsError(
            f"RADIOLOG_DICOM_PEERS: {', '.join(remote)} is on another machine and would be told of studies "
            "in the clear: set RADIOLOG_DICOM_TLS_CERTIFICATE, _KEY and _CA for mutual TLS"
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
