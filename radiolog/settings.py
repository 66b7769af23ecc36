"""Settings of every radiolog process, read once and then passed on, never looked up again.

Each value comes from an environment variable `RADIOLOG_<NAME>`, else from `stack.env` in the state folder (which
`radiolog stack up` writes), else from the default below. The same names point a process at any external cluster.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1 << 20
MAX_PORT = 65535
ENVIRONMENT_PREFIX = "RADIOLOG_"
KEEP_IDENTITY = "the log is in the clinical zone"
"""What RADIOLOG_KEEP_IDENTITY has to say: no one types it by accident, and whoever reads it knows what was decided."""
_TOKEN = r"[A-Za-z0-9._~+/-]{32,}=*"  # noqa: S105 - a pattern


Address = tuple[str, int]
"""Host and port."""


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable and says what it takes."""


class Settings(BaseSettings):
    """Frozen settings; a secret is a `SecretStr`, so that it is never printed by accident."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, frozen=True, extra="ignore")

    state_dir: Path = Field(description="Where the embedded servers keep their data.")

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port[,host:port].")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: Path | None = None
    ssl_certificate_location: Path | None = None
    ssl_key_location: Path | None = None

    schema_registry_url: str = "http://127.0.0.1:8081"
    schema_registry_username: str | None = None
    schema_registry_password: SecretStr | None = None

    database_url: SecretStr = SecretStr("postgresql://radiolog@127.0.0.1:5432/radiolog")

    app: str = Field("radiolog", pattern=r"^[a-z][a-z0-9-]*$", description="Prefix of consumer groups and ids.")
    topic_prefix: str = Field("imaging.", pattern=r"^[A-Za-z0-9._-]*$")
    partitions: int = Field(6, ge=1, le=1000, description="Partitions of a new topic.")
    replication_factor: int = Field(1, ge=1, le=9)
    inline_max_bytes: int = Field(8 * MIB, ge=1, description="Largest object carried inside its event.")

    object_store_url: str | None = Field(
        None, description="Where larger objects go: file:///FOLDER or s3://BUCKET/PREFIX; by default the state folder."
    )
    object_max_bytes: int = Field(1024 * MIB, ge=1, description="Largest object taken at all.")
    receive_max_bytes: int = Field(4096 * MIB, ge=1, description="What one adapter holds of objects, together.")
    s3_endpoint: str | None = Field(None, description="https://HOST[:PORT]; http:// on loopback alone.")
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_ca_location: Path | None = Field(None, description="Authorities that the system does not know, PEM.")

    site_secret: SecretStr | None = Field(None, description="Key of every pseudonym: at least 32 characters.")
    keep_identity: bool = Field(
        False, description=f"Publish objects as they came, for a log in the clinical zone: {KEEP_IDENTITY!r}."
    )

    transcode: Literal["none", "htj2k"] = Field(
        "none", description="Without loss, what adapters make of uncompressed pixels: docs/transcoding.md."
    )

    dicom_host: str = "127.0.0.1"
    dicom_port: int = Field(11112, ge=0, le=65535)
    dicom_ae_title: str = Field("RADIOLOG", min_length=1, max_length=16)
    dicom_allowed_callers: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="Calling AE titles let in, with commas between; empty lets every caller in."
    )
    dicom_peers: Annotated[Mapping[str, Address], NoDecode] = Field(
        default_factory=dict, description="Who is told of storage commitment, and where: AETITLE=HOST:PORT[,...]."
    )
    dicom_acceptors: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)), ge=1, le=256, description="Processes that receive."
    )
    dicom_associations: int = Field(64, ge=1, le=1024, description="At a time, all acceptors together.")
    dicom_peer_associations: int = Field(32, ge=1, description="Of them, those of one calling AE title or address.")
    dicom_tls_certificate: Path | None = Field(None, description="The adapter's certificate chain, PEM.")
    dicom_tls_key: Path | None = None
    dicom_tls_ca: Path | None = Field(None, description="The authority whose certificates peers must show, PEM.")
    dicom_trusted_network: bool = Field(
        False, description="Listen off loopback without TLS: only behind a port published on loopback alone."
    )
    folder_poll_seconds: float = Field(1.0, gt=0)

    stow_enabled: bool = Field(False, description="Whether `radiolog run all` runs the STOW-RS adapter too.")
    stow_host: str = "127.0.0.1"
    stow_port: int = Field(8080, ge=0, le=65535)
    stow_tokens: SecretStr | None = Field(
        None, description="Who may store, NAME=TOKEN[,NAME=TOKEN]: bearer tokens of at least 32 characters."
    )
    stow_tls_certificate: Path | None = Field(None, description="The adapter's certificate chain, PEM.")
    stow_tls_key: Path | None = None
    stow_tls_ca: Path | None = Field(None, description="The authority whose certificates clients must show, PEM.")
    stow_trusted_network: bool = Field(
        False, description="Off loopback, take tokens without TLS: only behind a port published on loopback alone."
    )
    stow_request_max_bytes: int = Field(16384 * MIB, ge=1, description="Largest body of one request.")

    probe_host: str = Field("127.0.0.1", description="Where each process answers probes; off loopback with a token.")
    probe_port: int = Field(0, ge=0, le=65535, description="0: any free port, which `radiolog status` finds.")
    probe_token: SecretStr | None = Field(None, description="Bearer token of probes: at least 32 characters.")

    bundle: str = Field("default", description="Model bundle: a folder, or a name that the package ships.")
    operating_point: str | None = Field(None, description="One of the bundle's operating points; its default if unset.")
    engine: Literal["jax", "openvino"] = Field("jax", description="What computes the network; openvino is an extra.")
    decode_workers: int = Field(2, ge=1, le=256)
    decode_timeout_seconds: float = Field(30.0, gt=0, le=60, description="For one object.")
    decode_memory_bytes: int = Field(4096 * MIB, ge=256 * MIB, description="Address space that one object may take.")

    @field_validator("dicom_allowed_callers", mode="before")
    @classmethod
    def _titles(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(title.strip() for title in value.split(",") if title.strip())
        return value

    @field_validator("dicom_peers", mode="before")
    @classmethod
    def _peers(cls, value: object) -> object:
        return addresses(value) if isinstance(value, str) else value

    @field_validator("keep_identity", mode="before")
    @classmethod
    def _identity_is_kept_on_purpose(cls, value: object) -> object:
        if not isinstance(value, str) or value.strip().lower() in {"", "0", "false", "no", "off"}:
            return bool(value) and not isinstance(value, str)
        if value.strip().lower() != KEEP_IDENTITY:
            raise ValueError(
                "names, dates and numbers of patients would go onto the log: "
                f"if that is meant, set it to {KEEP_IDENTITY!r}, else remove it"
            )
        return True

    @field_validator("site_secret", "probe_token")
    @classmethod
    def _secret_is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("needs at least 32 characters, e.g. from `openssl rand -hex 32`")
        return value

    @field_validator("stow_tokens")
    @classmethod
    def _tokens_are_named_and_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            named_tokens(value.get_secret_value())
        return value

    @property
    def stow_peers(self) -> dict[str, str]:
        """Token by name of those who may store over STOW-RS; empty where none was given out."""
        return named_tokens(self.stow_tokens.get_secret_value()) if self.stow_tokens is not None else {}

    def require_site_secret(self) -> bytes:
        """The key of pseudonyms.

        Raises:
            SettingsError: it is not set.
        """
        if self.site_secret is None:
            raise SettingsError(
                "RADIOLOG_SITE_SECRET is not set: pseudonyms need a key that stays the same for good. "
                "Make one with `openssl rand -hex 32` and keep it safe."
            )
        return self.site_secret.get_secret_value().encode()


def addresses(text: str) -> dict[str, Address]:
    """Host and port by AE title (16 characters at most, PS3.5 section 6.2), from AETITLE=HOST:PORT[,AETITLE=HOST:PORT].

    Raises:
        ValueError: it is not of that form.
    """
    found: dict[str, Address] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(
            r"([\x20-\x5b\x5d-\x7e]{1,16}?)\s*=\s*(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", entry
        )
        if match is None or not 0 < int(match[3]) <= MAX_PORT:
            raise ValueError("needs AETITLE=HOST:PORT[,AETITLE=HOST:PORT], e.g. CR1=127.0.0.1:11113")
        if match[1] in found:
            raise ValueError(f"names {match[1]} twice: where it listens would not be known")
        found[match[1]] = (match[2].strip("[]"), int(match[3]))
    return found


def named_tokens(text: str) -> dict[str, str]:
    """Bearer tokens (RFC 6750 section 2.1) by the name of who holds them, from NAME=TOKEN[,NAME=TOKEN].

    Raises:
        ValueError: it is not of that form; the message does not hold it.
    """
    pairs = [pair.strip().partition("=") for pair in text.split(",")]
    for name, _, token in pairs:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or not re.fullmatch(_TOKEN, token):
            raise ValueError(
                "needs NAME=TOKEN[,NAME=TOKEN], each token with at least 32 characters, e.g. from "
                "`openssl rand -hex 32`"
            )
    tokens = {name: token for name, _, token in pairs}
    if len(tokens) < len(pairs) or len(set(tokens.values())) < len(pairs):
        raise ValueError("has a name or a token twice: who stores would not be known")
    return tokens


def default_state_dir() -> Path:
    """`RADIOLOG_STATE_DIR`, else a folder of the user's own (as root: outside the private home)."""
    if chosen := os.environ.get(f"{ENVIRONMENT_PREFIX}STATE_DIR"):
        return Path(chosen).expanduser().resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/radiolog")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "radiolog"


def load_settings(**overrides: object) -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value is missing or out of range; the message never holds the value itself.
    """
    state_dir = Path(str(overrides.pop("state_dir", None) or default_state_dir()))
    try:
        return Settings(_env_file=state_dir / "stack.env", state_dir=state_dir, **overrides)  # type: ignore[call-arg, arg-type]
    except OSError as error:
        raise SettingsError(
            f"{state_dir / 'stack.env'} can't be read ({error.strerror}): it belongs to the user who ran "
            f"`radiolog stack up`; set {ENVIRONMENT_PREFIX}STATE_DIR to a folder of your own"
        ) from None
    except ValidationError as error:
        lines = [
            f"{ENVIRONMENT_PREFIX}{'.'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(lines)) from None
