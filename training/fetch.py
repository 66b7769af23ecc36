"""Downloads a published data set, goes on where a download broke off, and keeps only what has the right checksum."""

import hashlib
import ipaddress
import os
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from training.archive.medmnist import ADDRESS, MD5, SIZES, file_name

CHUNK_BYTES: Final = 1 << 20
SECONDS: Final = 60.0
"""How long the server may say nothing."""
ATTEMPTS: Final = 5
"""In a row that bring nothing new."""
PAUSE_SECONDS: Final = 1.0
"""Before the second of them; each later one waits twice as long as the one before."""
_PARTIAL, _RANGE_NOT_SATISFIABLE, _SERVER_ERROR = 206, 416, 500

Progress = Callable[[int, int | None], None]
"""Hears how many bytes are there, and of how many, where the server says so."""


class FetchError(Exception):
    """A data set that cannot be had; the message says why, and what to do."""


def fetch(
    name: str,
    size: int,
    folder: Path,
    address: str = ADDRESS,
    md5: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Fetch a MedMNIST set, unless the folder has it already; gives the file's path.

    Args:
        name: of the set, such as `pneumoniamnist`.
        size: edge of its images, in pixels.
        folder: where the file goes. Until it is whole its name ends in `.part`.
        address: where sets are published: https, or http on loopback.
        md5: its checksum in hex, where it is not one of those published with the set.
        progress: called as bytes come in.

    Raises:
        FetchError: the set is not known, the server does not have it, or it has another checksum.
    """
    wanted = md5 or MD5.get(name, {}).get(size)
    if wanted is None:
        raise FetchError(
            f"no checksum of {name} with {size} pixels is known: give it with --md5, or take one of "
            f"{', '.join(sorted(MD5))} with {', '.join(map(str, SIZES))} pixels"
        )
    _check_address(address)
    path = folder / file_name(name, size)
    if path.exists():
        if checksum(path) == wanted.lower():
            return path
        raise FetchError(f"{path} is there, and is another file: its MD5 is not {wanted}; move it away")
    part = path.with_name(f"{path.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(f"{address.rstrip('/')}/{path.name}?download=1", part, progress)
        _accept(part, path, wanted.lower())
    except OSError as error:
        raise FetchError(f"{path} cannot be written: {error.strerror}") from error
    return path


def checksum(path: Path) -> str:
    """MD5 in hex of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _accept(part: Path, path: Path, wanted: str) -> None:
    found = checksum(part)
    if found != wanted:
        part.unlink()
        raise FetchError(f"what came for {path.name} has the MD5 {found}, not {wanted}: it is thrown away, try again")
    os.replace(part, path)


def _check_address(address: str) -> None:
    url = urlsplit(address)
    if (url.scheme == "https" and url.hostname) or (url.scheme == "http" and _is_loopback(url.hostname or "")):
        return
    raise FetchError(f"{address} is no address that is fetched from: https://HOST/PATH, or http:// on loopback")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _download(url: str, part: Path, progress: Progress) -> None:
    """Append to the file what it lacks, until it is whole."""
    left = ATTEMPTS
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _append(url, part, before, progress):
                return
            reason = "the connection broke off"
        except HTTPError as error:
            if error.code < _SERVER_ERROR:
                raise FetchError(f"{url} is answered with {error.code} {error.reason}") from None
            reason = f"it is answered with {error.code} {error.reason}"
        except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        left = ATTEMPTS if part.exists() and part.stat().st_size > before else left - 1
        if not left:
            raise FetchError(f"{url} cannot be fetched ({reason}); run it again to go on where it broke off")
        time.sleep(PAUSE_SECONDS * 2.0 ** (ATTEMPTS - left - 1) if left < ATTEMPTS else 0.0)


def _append(url: str, part: Path, have: int, progress: Progress) -> bool:
    """Write what the server gives from byte `have` on; returns whether the file is whole then."""
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - checked
    try:
        answer = cast(HTTPResponse, urlopen(request, timeout=SECONDS))  # noqa: S310
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and have:
            return True  # nothing is left to fetch: the checksum tells whether that is so
        raise
    with answer:
        _check_address(answer.url)
        if answer.status != _PARTIAL:
            have = 0  # a server that does not know ranges begins anew
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
    return total is None or have >= total
