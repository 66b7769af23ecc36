"""Hostile HTTP requests, by kind: whole ones, as they go over the wire."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.hostile.objects import MARK, TEXTS

BOUNDARY = "b0und"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
Maker = Callable[[random.Random], tuple[bytes, str]]


@dataclass(frozen=True)
class Request:
    """What is written, and whether to "wait" for the answer or to "close" at once."""

    kind: str
    content: bytes
    ending: str


def made(number: int, token: str) -> Request:
    """The request of this number; kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    content, ending = KINDS[kind](random.Random(number))
    return Request(kind, content.replace(b"TOKEN", token.encode(), 1), ending)


def head(path: str = "/studies", method: str = "POST", kind: str = RELATED, token: str = "TOKEN", **more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Type: {kind}", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def whole(body: bytes, **more: str) -> bytes:
    return head(Content_Length=str(len(body)), Connection="close", **more) + body


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def part(content: bytes, headers: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    return b"--" + BOUNDARY.encode() + b"\r\n" + headers + b"\r\n" + content + b"\r\n"


def _boundaries(rng: random.Random) -> tuple[bytes, str]:
    body = part(rng.randbytes(50)) * rng.choice((0, 1, 300))
    end = rng.choice((b"", b"--b0und--", b"--b0un", b"--other--\r\n", b"--b0und\r\n" * 500))
    kind = rng.choice(
        (RELATED, RELATED.replace(BOUNDARY, "x" * 500), RELATED.replace(BOUNDARY, ""), "multipart/related")
    )
    return whole(body + end, kind=kind), "wait"


def _part_headers(rng: random.Random) -> tuple[bytes, str]:
    headers = (
        b"X: y\r\n" * 1000,
        b"X: " + b"y" * 100_000 + b"\r\n",
        b"\0\xff: \x01\r\n",
        b"Content-Type: " + MARK.encode() + b"\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        f'Content-Disposition: form-data; filename="../../{MARK}"\r\n'.encode(),
        b"no colon\r\n",
    )
    body = part(rng.randbytes(50), rng.choice(headers)) + b"--b0und--"
    return whole(body), "wait"


def _lengths(rng: random.Random) -> tuple[bytes, str]:
    lengths = ("-1", "99999999999999999999", str(1 << 62), "0x10", "1e3", "", "abc", "5, 6", "+7", str(20 << 30))
    return head(Content_Length=rng.choice(lengths)) + rng.randbytes(100), "wait"


def _chunks(rng: random.Random) -> tuple[bytes, str]:
    body = rng.choice(
        (
            b"zz\r\nabc\r\n",
            b"ffffffffffffffffffff\r\nabc",
            b"-5\r\nabcde\r\n0\r\n\r\n",
            b"5;" + b"x" * 70_000 + b"\r\nabcde\r\n0\r\n\r\n",
            b"3\r\nabcdef\r\n0\r\n\r\n",
            chunked(part(b"x") + b"--b0und--", 1),
            chunked(rng.randbytes(300))[:-5],
            b"1\r\na\r\n" * 3000 + b"0\r\n" + b"T: x\r\n" * 5000 + b"\r\n",
        )
    )
    return head(Transfer_Encoding=rng.choice(("chunked", "gzip, chunked", "chunked, chunked", "x"))) + body, "wait"


def _heads(rng: random.Random) -> tuple[bytes, str]:
    heads = (
        b"POST /studies HTTP/1.1\r\n" + b"A: b\r\n" * 20_000,
        b"POST /studies HTTP/1.1\r\nX: " + b"y" * 200_000,
        b"POST " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /studies HTTP/9.9\r\n\r\n",
        b"\r\n" * 2000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /studies HTTP/1.1\r\n Folded: x\r\n\r\n",
        b"\x01\x00\x00\x00\x00\x10" + bytes(200),
        rng.randbytes(500),
    )
    return rng.choice(heads), "close"


def _paths(rng: random.Random) -> tuple[bytes, str]:
    paths = (
        "/studies/../../../etc/passwd",
        "/studies/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/studies/1.2.3%00",
        "/studies/" + "1" * 5000,
        f"/studies/{MARK}?x={MARK}",
        "http://127.0.0.1:1/studies",
        "/studies/1.2.3/series/4.5",
        "//",
        "*",
        "/studies/%ff%fe",
        "/studies;/x",
    )
    return whole(
        part(b"x") + b"--b0und--", path=rng.choice(paths), method=rng.choice(("POST", "GET", "PUT", MARK))
    ), "wait"


def _tokens(rng: random.Random) -> tuple[bytes, str]:
    tokens = ("", "x", "TOKE", MARK * 100, "\xff\xfe", "TOKEN" * 3, "a b c", "null")
    return whole(part(b"x") + b"--b0und--", token=rng.choice(tokens)), "wait"


def _types(rng: random.Random) -> tuple[bytes, str]:
    kinds = (
        "application/json",
        "application/dicom+json",
        "text/html",
        "multipart/form-data; boundary=b0und",
        "multipart/related; boundary=" + "=" * 60,
        "application/dicom; " + "x=y;" * 3000,
        "/" * 500,
        rng.choice(TEXTS).replace("\r", "").replace("\n", "").replace("\0", "")[:300],
    )
    accept = rng.choice(("*/*", "text/html", "application/dicom+json;q=nan", "application/dicom+xml;q=-1", "," * 3000))
    encoding = rng.choice(("", "gzip", "identity", "br, gzip"))
    return whole(b"[" * 5000, kind=rng.choice(kinds), Accept=accept, Content_Encoding=encoding), "wait"


def _cut_off(rng: random.Random) -> tuple[bytes, str]:
    request = whole(part(rng.randbytes(3000)) + b"--b0und--")
    return request[: rng.randrange(1, len(request))], "close"


def _pipelined(rng: random.Random) -> tuple[bytes, str]:
    one = head(Content_Length="1") + b"x"
    return one * rng.choice((2, 40)) + rng.choice((b"", b"garbage\r\n\r\n")), "close"


KINDS: Mapping[str, Maker] = {
    "boundaries": _boundaries,
    "part headers": _part_headers,
    "Content-Length": _lengths,
    "chunks": _chunks,
    "heads": _heads,
    "paths": _paths,
    "tokens": _tokens,
    "types": _types,
    "broken off": _cut_off,
    "pipelined": _pipelined,
}
