"""Objects in an S3-compatible bucket, through obstore (the object_store library of Apache Arrow).

A put is one request or one multipart upload: nobody sees half of an object. S3 has no condition on an object's age, so
between the collector's last look and its removal there is the time of one request, in which a put of the same content
would be lost; a folder has no such gap.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from radiolog.log.objects.errors import ObjectMissing, ObjectStoreUnavailable
from radiolog.log.objects.place import PATIENCE_SECONDS, READ_BYTES, Entry, Piece, allowed_seconds, name_of, sha256_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Credential

PART_BYTES = 16 << 20
PARALLEL_PARTS = 4
_RETRIES: "RetryConfig" = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=PATIENCE_SECONDS),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}


@dataclass(frozen=True)
class Bucket:
    """A bucket, or what is below a prefix of it, that belongs to the objects of one log alone.

    Attributes:
        bucket: its name.
        prefix: what the names of objects begin with; may be empty.
        endpoint: the server's URL.
        region: as the server knows it.
        key_id: the access key.
        secret: what belongs to it.
        certificates: PEM, of authorities that the system does not know.
        plain_http: whether the endpoint may be without TLS.
    """

    bucket: str
    prefix: str
    endpoint: str
    region: str
    key_id: str
    secret: str = field(repr=False)
    certificates: bytes | None
    plain_http: bool

    def write(self, sha256: bytes, size: int, pieces: Sequence[Piece]) -> None:
        """Puts the object, also where it is there already: that makes it young, and whole if it was altered."""
        with self._translated(sha256):
            obstore.put(
                self._client(size),
                name_of(sha256),
                _chunks(pieces),
                chunk_size=PART_BYTES,
                max_concurrency=PARALLEL_PARTS,
            )

    def open(self, sha256: bytes, size: int) -> BinaryIO:
        """The object in memory, read no further than one byte past `size`."""
        deadline = time.monotonic() + allowed_seconds(size)
        content = BytesIO()
        with self._translated(sha256):
            for chunk in obstore.get(self._client(size), name_of(sha256)).stream(min_chunk_size=READ_BYTES):
                content.write(chunk)
                if content.tell() > size:
                    break
                if time.monotonic() > deadline:
                    raise ObjectStoreUnavailable(f"the object store at {self.endpoint} is too slow")
        content.seek(0)
        return content

    def entries(self) -> Iterator[Entry]:
        """Every object below the prefix; what else lies there is passed over."""
        with self._translated():
            for page in obstore.list(self._client(0), "sha256", chunk_size=1000):
                for meta in page:
                    if (sha256 := sha256_of(meta["path"])) is not None:
                        yield Entry(sha256, meta["size"], meta["last_modified"])

    def remove(self, sha256: bytes, before: datetime) -> bool:
        """Looks at the object's age once more, then removes it."""
        client = self._client(0)
        try:
            with self._translated(sha256):
                if obstore.head(client, name_of(sha256))["last_modified"] >= before:
                    return False
                obstore.delete(client, name_of(sha256))
        except ObjectMissing:
            return False
        return True

    def tidy(self, before: datetime) -> None:
        """Nothing: uploads that broke off are for the bucket's lifecycle rules, which all such servers have."""

    def _client(self, size: int) -> S3Store:
        options: ClientConfig = {
            "allow_http": self.plain_http,
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=PATIENCE_SECONDS),
            "timeout": timedelta(seconds=allowed_seconds(size)),
        }
        if self.certificates is not None:
            options["root_certificate"] = self.certificates
        return S3Store(
            self.bucket,
            prefix=self.prefix or None,
            # Set both, since a variable of the environment for the second would go before the first.
            endpoint=self.endpoint,
            aws_endpoint_url_s3=self.endpoint,
            region=self.region,
            client_options=options,
            retry_config=_RETRIES,
            credential_provider=self._credential,
        )

    def _credential(self) -> "S3Credential":
        return {"access_key_id": self.key_id, "secret_access_key": self.secret, "token": None, "expires_at": None}

    @contextmanager
    def _translated(self, sha256: bytes = b"") -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotFoundError):
            self._require_bucket()
            raise ObjectMissing(f"object {sha256.hex()} is not in the object store") from None
        except (BaseError, OSError) as error:
            # Its message may quote the request, whose signature is nobody's business.
            raise ObjectStoreUnavailable(
                f"the object store at {self.endpoint} does not take the request ({type(error).__name__})"
            ) from None

    def _require_bucket(self) -> None:
        """The server's answer for a missing bucket is the one for a missing object."""
        try:
            next(iter(obstore.list(self._client(0), chunk_size=1)), None)
        except (BaseError, OSError):
            raise ObjectStoreUnavailable(f"there is no bucket {self.bucket} at {self.endpoint}") from None


def _chunks(pieces: Sequence[Piece]) -> Iterator[memoryview]:
    for piece in pieces:
        for start in range(0, len(piece), READ_BYTES):
            yield memoryview(piece)[start : start + READ_BYTES]
