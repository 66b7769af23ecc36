"""Fetching a data set from a server of the test's own: resumed, checked, and never half there."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training.fetch import FetchError, fetch

CONTENT = bytes(range(256)) * 9000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Gives `content`; breaks off after `cut` bytes, answers with `status`, or ignores ranges, if told so."""

    content, cut, status, knows_ranges = CONTENT, None, 200, True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.knows_ranges else 0
        if self.server.status != 200 or start >= len(self.server.content):
            self.send_error(self.server.status if self.server.status != 200 else 416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.fetch.PAUSE_SECONDS", 0.0)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, folder: Path, **options: object) -> Path:
    return fetch("pneumoniamnist", 64, folder, **{"address": server.address, "md5": MD5} | options)


def test_fetches_and_checks(server: Server, tmp_path: Path) -> None:
    seen = []
    path = get(server, tmp_path / "new", progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "new" / "pneumoniamnist_64.npz"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert server.asked == [("/files/pneumoniamnist_64.npz?download=1", None)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.cut = 1_000_000
    path = get(server, tmp_path)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000000-", "bytes=2000000-"]


def test_goes_on_with_what_an_earlier_run_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pneumoniamnist_64.npz.part").write_bytes(CONTENT[:5000])
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[0][1] == "bytes=5000-"


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "pneumoniamnist_64.npz.part").write_bytes(b"x" * 5000)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_whole_part_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pneumoniamnist_64.npz.part").write_bytes(CONTENT)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_another_checksum_is_refused_and_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="thrown away"):
        get(server, tmp_path, md5=None)  # the published one is of another file
    assert not list(tmp_path.iterdir())


def test_another_file_in_its_place_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "pneumoniamnist_64.npz").write_bytes(b"mine")
    with pytest.raises(FetchError, match="move it away"):
        get(server, tmp_path)
    assert (tmp_path / "pneumoniamnist_64.npz").read_bytes() == b"mine"


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 5)])
def test_a_server_that_has_it_not(server: Server, tmp_path: Path, status: int, requests: int) -> None:
    server.status = status
    with pytest.raises(FetchError, match=str(status)):
        get(server, tmp_path)
    assert len(server.asked) == requests


@pytest.mark.parametrize("address", ["http://example.org/files", "ftp://127.0.0.1/files", "file:///etc", "nowhere"])
def test_addresses_that_are_not_safe_are_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(FetchError, match="no address"):
        fetch("pneumoniamnist", 64, tmp_path, address)


def test_an_unknown_set_needs_a_checksum(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="--md5"):
        fetch("pneumoniamnist", 100, tmp_path)
