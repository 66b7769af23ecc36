"""The Store transaction against an in-memory log: what is stored, what is answered, and what nobody gets to see."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import httpx2 as httpx
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage
from structlog.testing import capture_logs

from producers import part10
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from producers.stow import body as body_limits
from producers.stow import reception
from producers.stow.access import Access
from producers.stow.app import application
from producers.stow.reception import Storeroom
from radiolog.log.errors import DeliveryUnknown, LogRefused, LogUnavailable
from radiolog.log.objects import ObjectStoreUnavailable
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import MIB, Settings
from schemas.events import ImageEvent, SourceKind, image_event_id
from schemas.topics import IMAGES

RELATED = 'multipart/related; type="application/dicom"; boundary=a-boundary'
DICOM_JSON = "application/dicom+json"
TOKEN = "a" * 32


def multipart(*instances: bytes, head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    parts = [b"--a-boundary\r\n" + head + b"\r\n" + instance + b"\r\n" for instance in instances]
    return b"".join(parts) + b"--a-boundary--\r\n"


class Site:
    """An application over an intake; each request is a client of its own."""

    def __init__(self, intake: Intake, settings: Settings, tokens: dict[str, str] | None = None) -> None:
        self.room = Storeroom(intake, settings.receive_max_bytes)
        self.app = application(self.room, Access(tokens or {}), settings.stow_request_max_bytes)

    def post(self, content, url: str = "/studies", content_type: str | None = RELATED, **headers: str):
        return asyncio.run(self.send("POST", content, url, content_type, **headers))

    async def send(self, method: str, content, url: str = "/studies", content_type: str | None = RELATED, **headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            sent["Content-Type"] = content_type
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, url, content=content, headers=sent)


@pytest.fixture
def make_site(
    publisher: MemoryPublisher, pseudonyms: Pseudonyms, make_settings: Callable[..., Settings]
) -> Callable[..., Site]:
    sites = []

    def make(tokens: dict[str, str] | None = None, log: MemoryPublisher | None = None, **overrides: object) -> Site:
        settings = make_settings(**overrides)
        sites.append((Site(Intake(log or publisher, pseudonyms, settings), settings, tokens), settings))
        return sites[-1][0]

    yield make
    for site, settings in sites:
        site.room.close()
        assert site.room.budget._free == settings.receive_max_bytes, "all that was held is given back"


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def instance(new_object: Callable[..., Dataset], written: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda **elements: written(new_object(**elements))


def uids(module: dict, tag: str) -> list[str]:
    return [item["00081155"]["Value"][0] for item in module.get(tag, {}).get("Value", [])]


def reasons(module: dict, tag: str) -> list[int]:
    return [item["00081197"]["Value"][0] for item in module.get(tag, {}).get("Value", [])]


STORED, FAILED, OTHER = "00081199", "00081198", "0008119A"


def test_all_stored(site: Site, instance: Callable[..., bytes], images: Callable[[], list[ImageEvent]]) -> None:
    contents = [instance(SOPInstanceUID=f"1.2.{number}") for number in range(6)]
    answer = site.post(multipart(*contents))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == DICOM_JSON
    assert "warning" not in answer.headers
    module = answer.json()
    assert uids(module, STORED) == [f"1.2.{number}" for number in range(6)]
    assert FAILED not in module
    assert OTHER not in module
    assert module["00081190"] == {"vr": "UR"}
    assert {event.event_id for event in images()} == {image_event_id(event.received_sha256) for event in images()}
    assert {event.received_bytes for event in images()} == {len(part10.parse(content).dataset) for content in contents}
    assert {(event.source.kind, event.source.adapter) for event in images()} == {(SourceKind.STOW_RS, "stow")}
    assert not {event.sop_instance_uid for event in images()} & set(uids(module, STORED)), "the log has pseudonyms"


def test_one_instance_without_multipart(site: Site, instance: Callable[..., bytes]) -> None:
    answer = site.post(instance(SOPInstanceUID="1.2.3"), content_type="application/dicom")
    assert (answer.status_code, uids(answer.json(), STORED)) == (200, ["1.2.3"])


def test_every_file_of_the_corpus(site: Site, corpus: list[Path], images: Callable[[], list[ImageEvent]]) -> None:
    answer = site.post(multipart(*(path.read_bytes() for path in corpus)))
    assert answer.status_code == 200, answer.headers
    assert len(uids(answer.json(), STORED)) == len(corpus) == len(images())


def test_a_refused_file_among_good_ones(site: Site, sample: Callable[[str], Path], instance) -> None:
    answer = site.post(multipart(sample("MR_truncated.dcm").read_bytes(), instance(SOPInstanceUID="1.2.3"), b"noise"))
    assert answer.status_code == 202
    module = answer.json()
    assert uids(module, STORED) == ["1.2.3"]
    assert reasons(module, FAILED) == [0xC000]
    assert uids(module, FAILED) == ["1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457"]
    assert reasons(module, OTHER) == [0xC000], "it does not say what it is"
    assert answer.headers["warning"] == '299 radiolog "Pixel Data declares 8192 bytes, 8130 are there"'


def test_only_refused_ones(site: Site) -> None:
    answer = site.post(multipart(b"noise"))
    assert (answer.status_code, reasons(answer.json(), OTHER)) == (409, [0xC000])


def test_the_study_of_the_url(site: Site, instance: Callable[..., bytes]) -> None:
    ours, theirs = (instance(SOPInstanceUID=f"1.2.{n}", StudyInstanceUID=f"1.2.3.{n}") for n in (1, 2))
    answer = site.post(multipart(ours, theirs), "/studies/1.2.3.1")
    assert answer.status_code == 202
    assert uids(answer.json(), STORED) == ["1.2.1"]
    assert (uids(answer.json(), FAILED), reasons(answer.json(), FAILED)) == (["1.2.2"], [0xA900])
    assert site.post(multipart(theirs), "/studies/1.2.3.1").status_code == 409
    assert site.post(multipart(theirs), "/studies/Doe").status_code == 400


def test_a_dicomdir_is_no_instance(site: Site, instance, new_object, written) -> None:
    content = written(new_object(SOPClassUID=MediaStorageDirectoryStorage, SOPInstanceUID="1.2.3"))
    answer = site.post(multipart(content))
    assert (answer.status_code, reasons(answer.json(), FAILED)) == (409, [0x0122])


@pytest.mark.parametrize(
    "failure", [LogUnavailable("no broker"), DeliveryUnknown(""), LogRefused("denied"), ObjectStoreUnavailable("full")]
)
def test_the_log_is_down(failure: Exception, site: Site, publisher: MemoryPublisher, instance) -> None:
    publisher.failure = failure
    answer = site.post(multipart(instance(SOPInstanceUID="1.2.3"), b"noise"))
    assert answer.status_code == 503, "also where another object is at fault: sending again will help"
    assert int(answer.headers["retry-after"]) > 0
    assert (uids(answer.json(), FAILED), reasons(answer.json(), FAILED)) == (["1.2.3"], [0xA700])
    assert uids(answer.json(), STORED) == []
    publisher.failure = None
    assert site.post(multipart(instance(SOPInstanceUID="1.2.3"))).status_code == 200


def test_the_log_goes_away_in_the_middle(make_site: Callable[..., Site], instance) -> None:
    class Leaving(MemoryPublisher):
        lock = threading.Lock()

        def publish(self, facts: Sequence[Fact]) -> None:
            with self.lock:
                super().publish(facts)
                if len([fact for fact in self.facts if isinstance(fact.event, ImageEvent)]) == 3:
                    self.failure = LogUnavailable("gone")

    publisher = Leaving()
    answer = make_site(log=publisher).post(multipart(*(instance(SOPInstanceUID=f"1.2.{n}") for n in range(8))))
    module = answer.json()
    assert answer.status_code == 202
    assert (len(uids(module, STORED)), reasons(module, FAILED)) == (3, [0xA700] * 5)
    assert sorted(uids(module, STORED) + uids(module, FAILED)) == [f"1.2.{n}" for n in range(8)]


def test_the_answer_waits_for_the_log_and_instances_do_not_wait_for_each_other(
    make_site: Callable[..., Site], instance
) -> None:
    class Slow(MemoryPublisher):
        entered, release = threading.Event(), threading.Event()

        def publish(self, facts: Sequence[Fact]) -> None:
            self.entered.set()
            assert self.release.wait(30)
            super().publish(facts)

    publisher, first, second = Slow(), instance(SOPInstanceUID="1.2.1"), instance(SOPInstanceUID="1.2.2")
    site = make_site(log=publisher)

    async def chunks() -> AsyncIterator[bytes]:
        yield multipart(first, second)[: len(first) + 80]
        # The first is on its way to the log before the second one is complete.
        assert await asyncio.to_thread(publisher.entered.wait, 30)
        yield multipart(first, second)[len(first) + 80 :]

    async def store() -> httpx.Response:
        sending = asyncio.create_task(site.send("POST", chunks()))
        assert await asyncio.to_thread(publisher.entered.wait, 30)
        assert not sending.done()
        publisher.release.set()
        return await sending

    assert asyncio.run(store()).status_code == 200


@pytest.mark.parametrize("content_type", [RELATED, "application/dicom"])
def test_an_instance_that_is_too_large_is_not_held(content_type: str, make_site: Callable[..., Site], instance) -> None:
    site = make_site(inline_max_bytes=10_000, object_max_bytes=10_000)
    limit, large = site.room.intake.max_received_bytes, instance(SOPInstanceUID="1.2.1")
    held = []

    async def chunks() -> AsyncIterator[bytes]:
        yield b"--a-boundary\r\n\r\n" * (content_type == RELATED) + large
        for _ in range(limit // MIB + 2):
            yield bytes(MIB)
            held.append(site.room.budget._free)
        yield b"\r\n" + multipart(instance(SOPInstanceUID="1.2.2")) * (content_type == RELATED)

    answer = site.post(chunks(), content_type=content_type)
    if content_type == RELATED:
        assert answer.status_code == 202
        assert (uids(answer.json(), FAILED), reasons(answer.json(), FAILED)) == (["1.2.1"], [0xA701])
        assert uids(answer.json(), STORED) == ["1.2.2"]
        assert held[-1] == max(held), "the excess is dropped as soon as it shows"
    else:
        assert answer.status_code == 413
        early = site.post(bytes(limit + 1), content_type=content_type)
        assert (early.status_code, "exceeds" in early.text) == (413, True)


def test_only_instances_that_are_too_large(make_site: Callable[..., Site], instance) -> None:
    site = make_site(inline_max_bytes=100, object_max_bytes=100)
    answer = site.post(multipart(instance()))
    assert (answer.status_code, reasons(answer.json(), FAILED)) == (413, [0xA701])


def test_a_body_above_the_limit(make_site: Callable[..., Site], instance) -> None:
    site = make_site(stow_request_max_bytes=5000)
    content = multipart(instance(SOPInstanceUID="1.2.1"))
    announced = site.post(content + bytes(5000))
    assert (announced.status_code, "1.2.1" in announced.text) == (413, False)

    async def chunks() -> AsyncIterator[bytes]:
        yield content[:-4] + b"\r\n\r\n"
        for _ in range(6):
            yield bytes(1000)

    streamed = site.post(chunks())
    assert (streamed.status_code, uids(streamed.json(), STORED)) == (202, ["1.2.1"])
    assert reasons(streamed.json(), OTHER) == [0xA701]


def test_what_is_held_together_is_bounded(make_site: Callable[..., Site], instance, publisher) -> None:
    small, large = instance(SOPInstanceUID="1.2.1"), instance(SOPInstanceUID="1.2.2", PixelData=bytes(20_000))
    site = make_site(receive_max_bytes=10_000)
    answer = site.post(multipart(large, small))
    assert answer.status_code == 202
    assert (uids(answer.json(), FAILED), reasons(answer.json(), FAILED)) == (["1.2.2"], [0xA700])
    assert "at once" in answer.headers["warning"]
    assert site.room.budget._free == 10_000
    assert site.post(multipart(large)).status_code == 503


def test_too_many_instances(site: Site, instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MAX_INSTANCES", 2)
    answer = site.post(multipart(*(instance(SOPInstanceUID=f"1.2.{n}") for n in range(3))))
    assert (answer.status_code, len(uids(answer.json(), STORED))) == (202, 2)
    assert reasons(answer.json(), OTHER) == [0xA700]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("", 415),
        ("application/json", 415),
        ("multipart/form-data; boundary=a-boundary", 415),
        ('multipart/related; type="application/dicom+json"; boundary=a-boundary', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=""', 400),
        ('multipart/related; type="application/dicom"; boundary="a\tb"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"b" * 201}', 400),
        ('multipart/related; type="application/dicom"; boundary=another', 400),
        ("Multipart/Related; boundary=a-boundary", 200),
        ("multipart/related; boundary=a-boundary; TYPE=Application/DICOM", 200),
    ],
)
def test_content_types(content_type: str | None, status: int, site: Site, instance) -> None:
    assert site.post(multipart(instance()), content_type=content_type).status_code == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_compressed_bodies(encoding: str, site: Site, instance) -> None:
    answer = site.post(multipart(instance()), Content_Encoding=encoding)
    assert (answer.status_code, "Content-Encoding" in answer.text) == (415, True)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: application/dicom+xml\r\n",
        b"Content-Type: multipart/related; boundary=inner\r\n",
        b"Content-Type: application/dicom\r\nContent-Transfer-Encoding: base64\r\n",
        b"Content-Type: application/dicom\r\nContent-Encoding: gzip\r\n",
    ],
)
def test_parts_that_are_no_instance_by_their_headers(head: bytes, site: Site, instance) -> None:
    answer = site.post(multipart(instance(), head=head))
    assert (answer.status_code, reasons(answer.json(), OTHER)) == (415, [0xC000])


def test_a_part_without_content_type(site: Site, instance) -> None:
    assert site.post(multipart(instance(), head=b"")).status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, DICOM_JSON),
        ("*/*", DICOM_JSON),
        ("application/json", DICOM_JSON),
        ("text/html, application/dicom+xml", "application/dicom+xml"),
        ("application/dicom+json;q=0.5, application/dicom+xml", "application/dicom+xml"),
        ("application/dicom+xml;q=0.5, application/dicom+json", DICOM_JSON),
    ],
)
def test_accept(accept: str | None, kind: str, site: Site, instance) -> None:
    answer = site.post(multipart(instance()), **({"Accept": accept} if accept else {}))
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize("accept", ["text/html", "application/dicom+json;q=0", "application/dicom+json;q=much"])
def test_what_cannot_be_accepted_is_said_before_anything_is_stored(
    accept: str, site: Site, instance, publisher
) -> None:
    assert site.post(multipart(instance()), Accept=accept).status_code == 406
    assert not publisher.facts


def test_the_report_as_xml(site: Site, instance) -> None:
    answer = site.post(multipart(instance(SOPInstanceUID="1.2.3"), b"noise"), Accept="application/dicom+xml")
    root = ElementTree.fromstring(answer.content)
    name = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    assert root.tag == f"{name}NativeDicomModel"
    assert [node.get("keyword") for node in root] == ["RetrieveURL", "ReferencedSOPSequence", "OtherFailuresSequence"]
    (value,) = root.findall(f".//{name}DicomAttribute[@tag='00081155']/{name}Value")
    assert (value.text, value.get("number")) == ("1.2.3", "1")
    (reason,) = root.findall(f".//{name}DicomAttribute[@keyword='FailureReason']/{name}Value")
    assert reason.text == str(0xC000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "ends before"),
        (b"--a-boundary--\r\n", "no instance"),
        (b"a preamble\r\n--a-boundary\r\n", "boundary of Content-Type"),
        (b"--a-boundary\r\nContent-Type application/dicom\r\n\r\n", "boundary of Content-Type"),
        (b"--a-boundary\r\n" + b"X-A: b\r\n" * 100, "boundary of Content-Type"),
        (b"--a-boundary\r\nX-A: " + b"b" * 100_000, "boundary of Content-Type"),
        (b"--a-boundary\r\n\r\nhalf an inst", "ends before"),
    ],
)
def test_malformed_bodies(content: bytes, words: str, site: Site, publisher) -> None:
    answer = site.post(content)
    assert (answer.status_code, words in answer.text) == (400, True), answer.text
    assert not publisher.facts


def test_what_was_complete_before_a_body_broke_off_is_stored_and_told(site: Site, instance) -> None:
    answer = site.post(multipart(instance(SOPInstanceUID="1.2.3"))[:-4] + b"\r\n\r\n" + b"half")
    assert (answer.status_code, uids(answer.json(), STORED)) == (202, ["1.2.3"])
    assert reasons(answer.json(), OTHER) == [0xC000]


@pytest.mark.parametrize(("length", "status"), [((), 411), (((b"content-length", b"99999999999999"),), 413)])
def test_what_is_refused_before_a_byte_of_the_body_is_read(length: tuple, status: int, site: Site) -> None:
    async def post() -> list[dict]:
        sent = []

        async def send(message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/studies", "query_string": b"", "client": ("127.0.0.1", 1)}
        await site.app(scope | {"headers": [(b"content-type", RELATED.encode()), *length]}, None, send)
        return sent

    assert asyncio.run(post())[0]["status"] == status


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [("GET", "/studies", 405), ("PUT", "/studies/1.2", 405), ("POST", "/", 404), ("POST", "/studies/1.2/series", 404)],
)
def test_what_else_there_might_be(method: str, url: str, status: int, site: Site) -> None:
    assert asyncio.run(site.send(method, b"", url)).status_code == status


def test_a_slow_body(site: Site, instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limits.bounded, "__defaults__", (0.05,))

    async def drip(*first: bytes) -> AsyncIterator[bytes]:
        for chunk in first:
            yield chunk
        await asyncio.Event().wait()

    answer = site.post(drip(b"--a-bound"))
    assert (answer.status_code, "too slowly" in answer.text) == (408, True)
    answer = site.post(drip(multipart(instance(SOPInstanceUID="1.2.3"))[:-4] + b"\r\n"))
    assert (answer.status_code, uids(answer.json(), STORED), reasons(answer.json(), OTHER)) == (
        202,
        ["1.2.3"],
        [0xA700],
    )


def test_a_body_in_drops_does_not_last() -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b"x"

    async def read() -> int:
        return len([chunk async for chunk in body_limits.bounded(drops(), MIB, patience=0.3)])

    with pytest.raises(body_limits.RequestFault, match="too slowly"):
        asyncio.run(read())


def test_peers_are_known_by_the_names_of_their_tokens(
    make_site: Callable[..., Site], instance, images: Callable[[], list[ImageEvent]]
) -> None:
    site = make_site(tokens={"ward-3": "b" * 32, "pacs": TOKEN})
    with capture_logs() as logs:
        answer = site.post(multipart(instance(), b"noise"), Authorization=f"bearer {TOKEN}")
    assert answer.status_code == 202
    assert [event.source.peer for event in images()] == ["pacs"]
    assert TOKEN not in json.dumps(logs, default=str) + answer.text


@pytest.mark.parametrize(
    "shown", [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN[1:]}", f"Bearer {TOKEN}a", "Bearer é"]
)
def test_strangers_learn_nothing(shown: str | None, make_site: Callable[..., Site], instance, publisher) -> None:
    site = make_site(tokens={"pacs": TOKEN})
    for url in ("/studies", "/nothing"):
        headers = {} if shown is None else {"Authorization": shown.encode()}
        answer = site.post(multipart(instance()), url, **headers)
        assert answer.status_code == 401
        challenge = 'Bearer realm="radiolog"' + (', error="invalid_token"' if shown is not None else "")
        assert answer.headers["www-authenticate"] == challenge
    assert not publisher.facts


def test_a_trace_goes_on(site: Site, instance, publisher: MemoryPublisher) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    site.post(multipart(instance(), instance(SOPInstanceUID="1.2.3")), traceparent=parent, tracestate="a=b")
    traces = [fact.trace for fact in publisher.facts if fact.topic is IMAGES]
    assert {(trace.trace_id, trace.state) for trace in traces} == {("0af7651916cd43dd8448eb211c80319c", "a=b")}
    assert len({trace.span_id for trace in traces} | {"b7ad6b7169203331"}) == 3


def test_a_fault_of_ours(make_site: Callable[..., Site], publisher: MemoryPublisher, instance) -> None:
    publisher.failure = RuntimeError("Doe^Jane")
    with capture_logs() as logs:
        answer = make_site().post(multipart(instance()))
    assert answer.status_code == 500
    assert reasons(answer.json(), FAILED) == [0xC000]
    assert "Doe" not in answer.text + str(answer.headers) + str(logs)


def test_a_fault_of_ours_outside_an_instance(site: Site, instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception.Reception, "receive", lambda *_: 1 / 0)
    answer = site.post(multipart(instance()))
    assert (answer.status_code, answer.text) == (500, "internal error\n")


def test_no_patient_data_in_logs_and_answers(site: Site, new_object, written) -> None:
    planted = {"PatientName": "Zebulon^Quirk", "PatientID": "PLANTED-1", "AccessionNumber": "PLANTED-2"}
    good = written(new_object(**planted))
    contents = [
        good,
        good[:-3],
        written(new_object(**planted, SOPClassUID=MediaStorageDirectoryStorage)),
        written(new_object(**planted), DeflatedExplicitVRLittleEndian)[:-9],
        good.replace(b"1.2.3.4.5.6.7.8.9.10", b"PLANTED-3 Zebulon   "),
    ]
    with capture_logs() as logs:
        for url in ("/studies", "/studies/1.2.3.4.5.6.7.8.9.10"):
            answer = site.post(multipart(*contents), url)
            assert answer.status_code == 202
            told = answer.text + str(answer.headers)
            assert not [word for word in ("Zebulon", "PLANTED") if word in told]
    assert len(logs) > 5
    assert not [word for word in ("Zebulon", "PLANTED", "1.2.3.4.5") if word in str(logs)]


def test_a_client_that_goes_away_leaves_nothing_behind(site: Site, instance) -> None:
    async def go() -> None:
        messages = [
            {"type": "http.request", "body": multipart(instance())[:200], "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict:
            return messages.pop(0)

        async def send(_message) -> None:
            pass

        headers = [(b"content-type", RELATED.encode()), (b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "method": "POST", "path": "/studies", "query_string": b"", "client": ("127.0.0.1", 1)}
        await site.app(scope | {"headers": headers}, receive, send)

    before = site.room.budget._free
    asyncio.run(go())
    assert site.room.budget._free == before
