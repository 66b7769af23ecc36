"""The STOW-RS adapter as it runs: real connections on loopback, real clients, TLS, limits, the end."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2 as httpx
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from requests import HTTPError

from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from producers.stow.adapter import StowAdapter
from producers.stow.connection import BoundedConnection
from radiolog.instances import instances
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.services import services
from radiolog.settings import Settings, SettingsError
from schemas.events import ImageEvent, SourceKind, image_event_id
from schemas.topics import IMAGES
from tests.certificates import Authority
from tests.conftest import World
from tests.sites import environment_of

DICOM = {"Content-Type": "application/dicom"}
TOKEN = "0123456789abcdef" * 2


@pytest.fixture
def stow(settings: Settings, intake: Intake) -> Iterator[StowAdapter]:
    with StowAdapter(settings, intake) as adapter:
        yield adapter


def url_of(adapter: StowAdapter, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{adapter.port}"


def test_dicomweb_client(
    stow: StowAdapter, sample: Callable[[str], Path], images: Callable[[], list[ImageEvent]]
) -> None:
    paths = [sample(name) for name in ("CT_small.dcm", "RG1_J2KR.dcm", "reportsi.dcm")]
    client = DICOMwebClient(url_of(stow), chunk_size=10_000)  # chunked transfer, as it does for large studies
    report = client.store_instances([dcmread(path) for path in paths])
    sent = [dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == sent
    assert "FailedSOPSequence" not in report
    assert len(images()) == 3
    assert {(event.source.kind, event.source.peer) for event in images()} == {(SourceKind.STOW_RS, "127.0.0.1")}


def test_dicomweb_client_with_a_study(stow: StowAdapter, new_object: Callable[..., Dataset], written) -> None:
    client = DICOMwebClient(url_of(stow))
    objects = [new_object(SOPInstanceUID=f"1.2.{n}", StudyInstanceUID=f"1.2.3.{n}") for n in (1, 2)]
    for one in objects:
        written(one)  # gives it file meta information
    report = client.store_instances(objects, study_instance_uid="1.2.3.1")
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.1"]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in report.FailedSOPSequence] == [("1.2.2", 0xA900)]


def test_dicomweb_client_sends_again_when_the_log_is_back(
    stow: StowAdapter, publisher: MemoryPublisher, sample: Callable[[str], Path]
) -> None:
    client = DICOMwebClient(url_of(stow))
    client.set_http_retry_params(retry=False)
    publisher.failure = LogUnavailable("no broker")
    with pytest.raises(HTTPError) as refused:
        client.store_instances([dcmread(sample("CT_small.dcm"))])
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"]
    publisher.failure = None
    assert client.store_instances([dcmread(sample("CT_small.dcm"))]).ReferencedSOPSequence


def test_the_health_of_the_loop_is_told(settings: Settings, intake: Intake) -> None:
    beaten = threading.Event()
    with StowAdapter(settings, intake, beaten.set):
        assert beaten.wait(30)


def test_an_address_that_is_taken(stow: StowAdapter, make_settings: Callable[..., Settings], intake: Intake) -> None:
    with pytest.raises(SettingsError, match="RADIOLOG_STOW_PORT"):
        StowAdapter(make_settings(stow_port=stow.port), intake).start()


class Slow(MemoryPublisher):
    """Keeps whoever publishes waiting until `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()

    def publish(self, facts: Sequence[Fact]) -> None:
        self.entered.set()
        assert self.release.wait(60)
        super().publish(facts)


def test_what_is_in_hand_is_finished_before_it_stops(
    settings: Settings, pseudonyms: Pseudonyms, sample: Callable[[str], Path]
) -> None:
    publisher, answers = Slow(), []
    adapter = StowAdapter(settings, Intake(publisher, pseudonyms, settings))
    adapter.start()
    url = url_of(adapter)
    content = sample("CT_small.dcm").read_bytes()
    sending = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{url}/studies", content=content, headers=DICOM, timeout=60))
    )
    sending.start()
    assert publisher.entered.wait(30)
    stopping = threading.Thread(target=adapter.stop)
    stopping.start()
    World.until(lambda: not listens(url))
    assert stopping.is_alive()
    publisher.release.set()
    sending.join(30)
    stopping.join(30)
    assert [answer.status_code for answer in answers] == [200]
    assert publisher.facts


def listens(url: str) -> bool:
    try:
        httpx.get(url, timeout=5)
    except httpx.ConnectError:
        return False
    except httpx.TransportError:
        return True
    return True


def received(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    answer = b""
    try:
        while more := connection.recv(4096):
            answer += more
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize("head", [b"", b"POST /studies HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_does_not_come(
    head: bytes, stow: StowAdapter, monkeypatch: pytest.MonkeyPatch, sample: Callable[[str], Path]
) -> None:
    monkeypatch.setattr(BoundedConnection, "head_seconds", 0.5)
    with socket.create_connection(("127.0.0.1", stow.port)) as silent:
        silent.sendall(head)
        answer = httpx.post(f"{url_of(stow)}/studies", content=sample("CT_small.dcm").read_bytes(), headers=DICOM)
        assert answer.status_code == 200, "others are served meanwhile"
        assert received(silent) == b""


def test_a_head_that_does_not_come_after_a_request(stow: StowAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "head_seconds", 0.5)
    with socket.create_connection(("127.0.0.1", stow.port)) as silent:
        silent.sendall(b"GET /studies HTTP/1.1\r\nHost: a\r\n\r\nGET /studies HTTP/1.1\r\nHost:")
        assert received(silent).startswith(b"HTTP/1.1 405")


def test_an_early_refusal_reaches_a_client_that_is_still_sending(
    stow: StowAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "head_seconds", 0.5)
    with socket.create_connection(("127.0.0.1", stow.port)) as sender:
        sender.sendall(
            b"POST /studies HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 3000000\r\n\r\n"
        )
        sender.sendall(bytes(2_000_000))
        assert received(sender).startswith(b"HTTP/1.1 415")


def test_a_head_that_does_not_end(stow: StowAdapter) -> None:
    with socket.create_connection(("127.0.0.1", stow.port)) as endless:
        endless.sendall(b"POST /studies HTTP/1.1\r\nX: " + b"a" * 100_000)
        assert b" 400 " in received(endless)[:20]


def test_more_connections_than_there_are_places(stow: StowAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "max_connections", 2)
    open_ones = [socket.create_connection(("127.0.0.1", stow.port)) for _ in range(2)]
    with socket.create_connection(("127.0.0.1", stow.port)) as one_more:
        answer = received(one_more)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After" in answer
    for connection in open_ones:
        connection.close()
    World.until(lambda: httpx.get(f"{url_of(stow)}/studies").status_code == 405)


def test_nobody_takes_all_places(
    stow: StowAdapter, monkeypatch: pytest.MonkeyPatch, sample: Callable[[str], Path]
) -> None:
    monkeypatch.setattr(BoundedConnection, "max_peer_connections", 2)
    greedy = [socket.create_connection(("127.0.0.1", stow.port), source_address=("127.0.0.2", 0)) for _ in range(3)]
    assert received(greedy[2]).startswith(b"HTTP/1.1 503")
    answer = httpx.post(f"{url_of(stow)}/studies", content=sample("CT_small.dcm").read_bytes(), headers=DICOM)
    assert answer.status_code == 200, "who comes from elsewhere is served"
    for connection in greedy:
        connection.close()


def test_nothing_of_a_request_is_printed(
    stow: StowAdapter, capfd: pytest.CaptureFixture[str], publisher: MemoryPublisher, sample: Callable[[str], Path]
) -> None:
    publisher.failure = RuntimeError("Doe^Jane")
    url = f"{url_of(stow)}/studies/1.2.3.4711?Doe^Jane"
    httpx.post(url, content=sample("CT_small.dcm").read_bytes(), headers=DICOM)
    httpx.post(url, content=b"--a\r\nDoe Jane: Doe^Jane", headers={"Content-Type": "multipart/related; boundary=a"})
    with socket.create_connection(("127.0.0.1", stow.port)) as garbage:
        garbage.sendall(b"Doe^Jane\r\n\r\n")
        received(garbage)
    printed = "".join(capfd.readouterr())
    assert not [word for word in ("Doe", "4711") if word in printed]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "hospital")


@pytest.fixture
def tls(authority: Authority) -> dict[str, object]:
    certificate, key = authority.issue("adapter")
    return {"stow_tls_certificate": certificate, "stow_tls_key": key}


def client_of(authority: Authority, name: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.path))
    if name is not None:
        context.load_cert_chain(*authority.issue(name))
    return context


def test_mutual_tls(make_settings, intake: Intake, tls, authority: Authority, sample, images) -> None:
    content = sample("CT_small.dcm").read_bytes()
    with StowAdapter(make_settings(**tls, stow_tls_ca=authority.path, stow_host="0.0.0.0"), intake) as adapter:
        url = f"{url_of(adapter, 'https')}/studies"
        with pytest.raises(httpx.TransportError):
            httpx.post(url, content=content, headers=DICOM, verify=client_of(authority))
        answer = httpx.post(url, content=content, headers=DICOM, verify=client_of(authority, "ct-scanner"))
        assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.post(url_of(adapter) + "/studies", content=content, headers=DICOM)
    assert [event.source.peer for event in images()] == ["ct-scanner"]


def test_a_token_within_tls(make_settings, intake: Intake, tls, authority: Authority, sample, images) -> None:
    content = sample("CT_small.dcm").read_bytes()
    settings = make_settings(**tls, stow_tokens=f"ward-3={'f' * 32},pacs={TOKEN}", stow_host="0.0.0.0")
    with StowAdapter(settings, intake) as adapter:
        url, verify = f"{url_of(adapter, 'https')}/studies", client_of(authority)
        assert httpx.post(url, content=content, headers=DICOM, verify=verify).status_code == 401
        shown = DICOM | {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.post(url, content=content, headers=shown, verify=verify).status_code == 200
    assert [event.source.peer for event in images()] == ["pacs"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "pacs.example"])
def test_off_loopback_nothing_starts_that_nothing_protects(host: str, make_settings, intake: Intake, tls) -> None:
    tokens = {"stow_tokens": f"pacs={TOKEN}"}
    for protection, words in (
        ({}, "RADIOLOG_STOW_TOKENS, or RADIOLOG_STOW_TLS_CA"),
        (tls, "RADIOLOG_STOW_TOKENS, or RADIOLOG_STOW_TLS_CA"),
        ({"stow_trusted_network": True}, "RADIOLOG_STOW_TOKENS"),
        (tokens, "must not travel in the clear"),
    ):
        with pytest.raises(SettingsError, match=words) as refused:
            StowAdapter(make_settings(stow_host=host, **protection), intake)
        assert TOKEN not in str(refused.value)


def test_in_a_trusted_network_tokens_do(make_settings, intake: Intake) -> None:
    settings = make_settings(stow_host="0.0.0.0", stow_trusted_network=True, stow_tokens=f"pacs={TOKEN}")
    with StowAdapter(settings, intake) as adapter:
        assert httpx.post(f"{url_of(adapter)}/studies").status_code == 401


@pytest.mark.parametrize("missing", ["stow_tls_certificate", "stow_tls_key"])
def test_half_of_the_tls_settings_is_refused(missing: str, make_settings, intake: Intake, tls) -> None:
    with pytest.raises(SettingsError, match="RADIOLOG_STOW_TLS_CERTIFICATE and RADIOLOG_STOW_TLS_KEY"):
        StowAdapter(make_settings(**tls | {missing: None}), intake)


@pytest.mark.parametrize(
    "tokens",
    ["", TOKEN, "pacs=short", f"pacs={TOKEN},", f"={TOKEN}", f"a b={TOKEN}", f"pacs={TOKEN} {TOKEN}",
     f"pacs={TOKEN},pacs={'f' * 32}", f"pacs={TOKEN},ward={TOKEN}"],
)  # fmt: skip
def test_tokens_that_are_none(tokens: str, make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match="RADIOLOG_STOW_TOKENS") as refused:
        make_settings(stow_tokens=tokens)
    assert TOKEN not in str(refused.value)


def test_tokens_are_not_printed(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(stow_tokens=f"pacs={TOKEN}")
    assert settings.stow_peers == {"pacs": TOKEN}
    assert TOKEN not in repr(settings)


def test_it_runs_with_the_others_where_the_site_wants_it(make_settings: Callable[..., Settings]) -> None:
    assert "stow" not in {service.name for service in services(make_settings())}
    (ours,) = [service for service in services(make_settings(stow_enabled=True)) if service.name == "stow"]
    assert tuple(ours.command[-2:]) == ("adapter", "stow")


@pytest.mark.servers
def test_the_whole_way_on_real_servers(kafka: World, sample: Callable[[str], Path], free_port: int, tmp_path) -> None:
    """The command, dicomweb-client, Kafka; SIGTERM at the end."""
    site = kafka.settings
    environment = environment_of(site, state_dir=tmp_path, stow_port=free_port, stow_tokens=f"pacs={TOKEN}")
    command = [sys.executable, "-m", "radiolog", "adapter", "stow"]
    paths = [sample(name) for name in ("CT_small.dcm", "RG1_UNCR.dcm")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            lines = iter(process.stderr.readline, "")
            assert any(json.loads(line)["event"] == "ready" for line in lines)
            assert [instance.service for instance in instances(tmp_path)] == ["stow"], "`radiolog status` sees it"
            client = DICOMwebClient(f"http://127.0.0.1:{free_port}", headers={"Authorization": f"Bearer {TOKEN}"})
            report = client.store_instances([dcmread(path) for path in paths])
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        said = "".join(lines)
    assert len(report.ReferencedSOPSequence) == 2
    events = kafka.events(IMAGES)
    assert {event.source.peer for event in events} == {"pacs"}
    digests = {image_event_id(event.received_sha256) for event in events}
    assert digests == {event.event_id for event in events}
    assert len(events) == 2
    assert sum(event.received_bytes for event in events) > 0
    assert TOKEN not in said
    assert not [path for path in paths if dcmread(path).PatientID in said]
