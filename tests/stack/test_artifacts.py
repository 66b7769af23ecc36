"""Pinned artefacts, against a Maven repository served on loopback."""

import hashlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jgo.maven import _core

from radiolog.stack.artifacts import Artifact, ensure, local_repository, pinned
from radiolog.stack.errors import ArtifactError
from radiolog.stack.kafka import version

ROOT = Path(__file__).parents[2]
CONTENT = b"a jar, for the purposes of this test"
ARTIFACT = Artifact("org.example.deep", "thing", "1.2", "all", "tar.gz", hashlib.sha256(CONTENT).hexdigest())
PATH = Path("org/example/deep/thing/1.2/thing-1.2-all.tar.gz")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Say nothing: the test's output is the test's."""


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "local"
    monkeypatch.setenv("M2_REPO", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "remote"
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_core.DEFAULT_REMOTE_REPOS, "central", "http://127.0.0.1:1")


def _place(folder: Path, content: bytes) -> Path:
    (folder / PATH).parent.mkdir(parents=True, exist_ok=True)
    (folder / PATH).write_bytes(content)
    return folder / PATH


def _files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def test_a_missing_artifact_is_fetched(local: Path, remote: Path) -> None:
    said: list[str] = []
    assert ensure((ARTIFACT,), said.append) == (local / PATH,)
    assert (local / PATH).read_bytes() == CONTENT
    assert said == ["fetching thing-1.2-all.tar.gz"]
    assert _files(local) == [PATH], "something was left of the download"


def test_what_is_there_needs_no_network(local: Path, no_network: None) -> None:
    _place(local, CONTENT)
    said: list[str] = []
    assert ensure((ARTIFACT,), said.append) == (local / PATH,)
    assert said == []


def test_a_changed_local_file_is_refused_and_kept(local: Path, remote: Path) -> None:
    file = _place(local, CONTENT + b"!")
    with pytest.raises(ArtifactError, match="Delete it") as refusal:
        ensure((ARTIFACT,), print)
    assert ARTIFACT.sha256 in str(refusal.value)
    assert file.read_bytes() == CONTENT + b"!"


def test_a_changed_download_never_arrives(local: Path, remote: Path) -> None:
    _place(remote, CONTENT[::-1])
    with pytest.raises(ArtifactError, match="SHA-256"):
        ensure((ARTIFACT,), print)
    assert _files(local) == []


def test_an_artifact_that_is_nowhere_is_named(local: Path, remote: Path) -> None:
    (remote / PATH).unlink()
    with pytest.raises(ArtifactError, match=r"thing-1\.2-all\.tar\.gz .* could not be fetched"):
        ensure((ARTIFACT,), print)
    assert _files(local) == []


def test_without_network_the_message_says_what_to_do(local: Path, no_network: None) -> None:
    with pytest.raises(ArtifactError, match="Connect this machine once"):
        ensure((ARTIFACT,), print)


def test_the_pins_are_whole() -> None:
    artifacts = [*pinned("kafka"), *pinned("registry")]
    assert len({artifact.path for artifact in artifacts}) == len(artifacts)
    assert all(len(bytes.fromhex(artifact.sha256)) == 32 for artifact in artifacts)
    versions = {artifact.version for artifact in artifacts if artifact.group == "org.apache.kafka"}
    assert versions == {"4.2.1"}, "Kafka's own jars must be of one version"
    assert [(artifact.name, artifact.version) for artifact in pinned("registry")] == [
        ("apicurio-registry-app", "3.3.3")
    ]


@pytest.mark.parametrize("file", ["docker-compose.yml", "tests/conftest.py"])
def test_containers_run_the_pinned_kafka(file: str) -> None:
    images = re.findall(r"apache/kafka:([0-9.]+)", (ROOT / file).read_text())
    assert images == [version()], "another Kafka in containers would be one that nobody chose"


def test_the_default_is_mavens_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("M2_REPO", raising=False)
    assert local_repository() == Path.home() / ".m2" / "repository"
