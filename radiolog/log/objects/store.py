"""The object store that the settings name: put, and read with a check of the hash."""

import hashlib
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit

from radiolog.log.objects.errors import ObjectAltered, ObjectStoreUnavailable
from radiolog.log.objects.folder import Folder
from radiolog.log.objects.place import READ_BYTES, Entry, Piece, Place, allowed_seconds
from radiolog.settings import Settings, SettingsError
from schemas.events import ObjectRef

WRONG_URL = "RADIOLOG_OBJECT_STORE_URL: takes file:///FOLDER or s3://BUCKET/PREFIX"


class ObjectStore:
    """Content-addressed objects: an object's name is its SHA-256, `sha256/ab/abcd…`."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @classmethod
    def from_settings(cls, settings: Settings) -> "ObjectStore":
        """The store that the settings name; nothing is asked of it yet.

        Raises:
            SettingsError: a setting is missing or wrong.
        """
        if settings.object_store_url is None:
            return cls(Folder(settings.state_dir / "objects"))
        url = urlsplit(settings.object_store_url)
        if url.scheme not in _PLACES or url.query or url.fragment:
            raise SettingsError(WRONG_URL)
        return cls(_PLACES[url.scheme](url, settings))

    def put(self, *pieces: Piece) -> ObjectRef:
        """Keeps the object that the pieces make, one behind the other; returns once it is whole and durable.

        Putting the same object again does no harm: it is then as young, to the collector, as if it were new, and whole
        if it had been altered.

        Raises:
            ObjectStoreUnavailable: the store does not have it; putting it again later may help.
        """
        digest, size = hashlib.sha256(), 0
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
        ref = ObjectRef(sha256=digest.digest(), size=size)
        self._place.write(ref.sha256, ref.size, pieces)
        return ref

    def open(self, ref: ObjectRef) -> BinaryIO:
        """The object, checked from its first byte to its last, at its start.

        Raises:
            ObjectMissing: the store has no such object.
            ObjectAltered: it is not the one that was put.
            ObjectStoreUnavailable: the store does not answer.
        """
        content = self._place.open(ref.sha256, ref.size)
        try:
            _check(content, ref)
            content.seek(0)
        except OSError as error:
            content.close()
            raise ObjectStoreUnavailable(f"object {ref.sha256.hex()} cannot be read ({error.strerror})") from error
        except BaseException:
            content.close()
            raise
        return content

    def get(self, ref: ObjectRef) -> bytes:
        """The object's bytes; raises what `open` does."""
        with self.open(ref) as content:
            return content.read()

    def entries(self) -> Iterator[Entry]:
        """Every object of the store; raises `ObjectStoreUnavailable`."""
        return self._place.entries()

    def remove(self, sha256: bytes, before: datetime) -> bool:
        """Removes an object unless it was put again since `before`; raises `ObjectStoreUnavailable`."""
        return self._place.remove(sha256, before)

    def tidy(self, before: datetime) -> None:
        """Removes what puts that broke off before that time have left; raises `ObjectStoreUnavailable`."""
        self._place.tidy(before)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object and the store that has it: what another process needs to read it."""

    ref: ObjectRef
    store: ObjectStore

    def open(self) -> BinaryIO:
        """As `ObjectStore.open`."""
        return self.store.open(self.ref)

    @property
    def open_seconds(self) -> float:
        """How long `open` may take."""
        return allowed_seconds(self.ref.size)


def _check(content: BinaryIO, ref: ObjectRef) -> None:
    digest, size = hashlib.sha256(), 0
    while size <= ref.size and (chunk := content.read(READ_BYTES)):
        digest.update(chunk)
        size += len(chunk)
    if size != ref.size:
        found = f"{size} bytes" if size < ref.size else "more"
        raise ObjectAltered(f"object {ref.sha256.hex()} has {found} where {ref.size} were put")
    if digest.digest() != ref.sha256:
        raise ObjectAltered(f"object {ref.sha256.hex()} has another hash than the one it was put under")


def _folder(url: SplitResult, settings: Settings) -> Place:
    path = Path(unquote(url.path))
    if url.netloc not in ("", "localhost") or path == Path("/") or not path.is_absolute():
        raise SettingsError(WRONG_URL)
    return Folder(path)


def _bucket(url: SplitResult, settings: Settings) -> Place:
    from radiolog.log.objects.bucket import Bucket

    endpoint, key_id, secret = settings.s3_endpoint, settings.s3_access_key_id, settings.s3_secret_access_key
    if endpoint is None or key_id is None or secret is None:
        raise SettingsError(
            "an object store at s3:// needs RADIOLOG_S3_ENDPOINT, RADIOLOG_S3_ACCESS_KEY_ID and "
            "RADIOLOG_S3_SECRET_ACCESS_KEY"
        )
    if not url.netloc or "@" in url.netloc or ":" in url.netloc:
        raise SettingsError(WRONG_URL)
    return Bucket(
        bucket=url.netloc,
        prefix=unquote(url.path).strip("/"),
        endpoint=endpoint.rstrip("/"),
        region=settings.s3_region,
        key_id=key_id,
        secret=secret.get_secret_value(),
        certificates=_certificates(settings.s3_ca_location),
        plain_http=_is_plain(endpoint),
    )


_PLACES: dict[str, Callable[[SplitResult, Settings], Place]] = {"file": _folder, "s3": _bucket}


def _is_plain(endpoint: str) -> bool:
    """Whether the endpoint goes without TLS, which only this machine's own may."""
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc:
        raise SettingsError("RADIOLOG_S3_ENDPOINT: takes https://HOST[:PORT]")
    if url.scheme == "http" and not _is_loopback(url.hostname):
        raise SettingsError("RADIOLOG_S3_ENDPOINT: only a server on this machine may go without TLS; use https://")
    return url.scheme == "http"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificates(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        raise SettingsError(f"RADIOLOG_S3_CA_LOCATION: cannot be read ({error.strerror})") from None
