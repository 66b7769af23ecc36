"""The proof of de-identification: people go in through every adapter, and what comes out on any channel is searched.

The channels are the topics (keys, headers and values, also of aborted transactions), the object store, the tables,
the logs of radiolog's processes and of the servers, metrics, `radiolog status`, and the answers to the device.
The search knows nothing of DICOM: it looks for bytes. Only `identities` and the schema `restricted` may hold any, and
that they do shows that the search finds what is there.
"""

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

import asyncpg
import httpx2 as httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from dicomanonymizer.dicom_anonymization_databases.dicomfields_2026c import ALL_TAGS
from PIL import ExifTags, Image
from pydantic import SecretStr
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.tag import BaseTag, Tag

from producers import dicom_object, part10
from producers.deidentify import DUMMY_TEXT
from producers.device import Device, Sent
from producers.profile import METHOD, METHOD_CODES
from producers.statuses import StoreStatus
from radiolog.instances import instances
from radiolog.log.replay import pin, read
from radiolog.probes import ask
from radiolog.services import services
from radiolog.status.report import to_json
from radiolog.status.site import Site
from radiolog.supervisor import Service, Supervisor
from schemas.events import image_event_id
from schemas.topics import IDENTITIES, IMAGES, TOPICS
from tests.conftest import free_port as another_free_port
from tests.planting import PEOPLE, SYNTAXES, Writer, as_file, found, planted_in
from tests.sites import environment_of

LIMIT = 1 << 30
INLINE_BYTES = 1 << 18
#: What is shorter is found by chance: in the header of one object, and among all that is on the log.
IN_A_HEADER, ANYWHERE = 6, 8
TOKEN = "a" * 32
REFERENCED_SOP_INSTANCE = "00081155"
#: What the two options retain although the table lists it: times of day, and what describes a patient.
RETAINED = {"TM", "AS", "CS"}
DESCRIBING = {Tag("PatientSize"), Tag("PatientWeight"), Tag("PregnancyStatus")}


@dataclass
class Sample:
    """Files as they came, and what must not be found of them."""

    files: dict[Path, bytes] = field(default_factory=dict)
    planted: int = 0
    person: dict[Path, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def corpus() -> list[Path]:
    """Every file that pydicom and pydicom-data carry, DICOM or not."""
    folders = {Path(str(get_testdata_file(name, download=False))).parent for name in ("CT_small.dcm", "RG1_UNCR.dcm")}
    assert len(folders) == 2, "pydicom-data is not installed"
    other = {".py", ".pyc", ".md", ".gz", ".icc", ".json", ".txt", ".jpg", ".dump"}
    found = [path for folder in sorted(folders) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in found if path.suffix not in other and not path.name.startswith("DICOMDIR")]


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Sample:
    """Each person in every element of the dictionary, in a transfer syntax each, and one of them in all."""
    folder, sample = tmp_path_factory.mktemp("generated"), Sample()
    cases = [("latin", syntax) for syntax in SYNTAXES] + list(zip(list(PEOPLE)[1:], SYNTAXES + SYNTAXES, strict=False))
    for number, (who, syntax) in enumerate(cases):
        writer = Writer(PEOPLE[who], syntax)
        path = folder / f"zwyrtek-{who}-{number}.dcm"
        path.write_bytes(as_file(writer.everything(number), syntax, PEOPLE[who]))
        sample.files[path], sample.person[path] = path.read_bytes(), who
        sample.planted += writer.planted
    broken = next(iter(sample.files))
    path = folder / "zwyrtek-cut.dcm"
    path.write_bytes(sample.files[broken][:-40_001])
    sample.files[path] = path.read_bytes()
    return sample


@pytest.fixture(scope="module")
def planted(corpus, tmp_path_factory) -> Sample:
    """The corpus with a person in each text element that a file has."""
    folder, sample, person = tmp_path_factory.mktemp("zwyrtek"), Sample(), PEOPLE["latin"]
    for number, path in enumerate(corpus):
        try:
            content, count = planted_in(path.read_bytes(), person, number)
        except Exception:  # not DICOM, or so broken that pydicom cannot write it again; it is sent as it is
            continue
        target = folder / f"zwyrtek-{number}.dcm"
        target.write_bytes(content)
        sample.files[target] = content
        sample.planted += count
    return sample


@pytest.mark.timeout(600)
def test_nothing_survives_on_any_channel(site, site_codec, corpus, generated, planted, free_port, tmp_path, servers):
    own = {"state_dir": tmp_path / "state", "inline_max_bytes": INLINE_BYTES, "folder_poll_seconds": 0.2}
    ports = {"dicom_port": free_port, "stow_port": another_free_port(), "stow_enabled": True}
    site = site.model_copy(update=own | ports | {"stow_tokens": SecretStr(f"pacs={TOKEN}")})
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for path in list(generated.files)[:3]:
        (inbox / path.name).write_bytes(generated.files[path])
    add_picture(inbox)
    environment = environment_of(site)
    by_stow = [*list(generated.files)[1::2], *list(planted.files)[::3]]
    watcher = Service(
        "folder",
        (sys.executable, "-m", "radiolog", "adapter", "folder", str(inbox)),
        site.state_dir / "log" / "folder.log",
        {"RADIOLOG_PROBE_PORT": "0"} | environment,
    )
    device = Device("127.0.0.1", free_port, "TEST-CR", site.dicom_ae_title)
    with Supervisor([*services(site, environment), watcher]) as supervisor, Site(site) as looks:
        supervisor.start(threading.Event())
        sent = sent_by(device, [*corpus, *(path for path in generated.files if path not in by_stow)])
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/dicom"}) as client:
            answers = {path: store(client, site.stow_port, path) for path in by_stow}
        published = publish([path for path in planted.files if path not in by_stow], site, environment)
        until(lambda: sum(path.suffix in {".dcm", ".png"} for path in inbox.glob("done/*/*")) == 4)
        results = json.loads(published.stdout)
        stored = {one.path: str(one.event_id) for one in sent if one.status is StoreStatus.SUCCESS}
        stored |= {path: event_id_of(path) for path, answer in answers.items() if answer.status_code == HTTPStatus.OK}
        acknowledged = {*stored.values(), *(one["event_id"] for one in results if one["event_id"])}
        until(lambda: settled(site, acknowledged))
        metrics = {one: ask(one.probe, "/metrics")[1] for one in instances(site.state_dir)}
        look = json.dumps(to_json(looks.look()))

    channels = {f"topic {name}": content for name, content in topics(site).items()}
    known = channels.pop(f"topic {IDENTITIES.full_name(site.topic_prefix)}")
    tables = {f"table {name}": content for name, content in asyncio.run(dump(site)).items()}
    known_rows = b"".join(tables.pop(name) for name in list(tables) if name.startswith("table restricted."))
    objects = {f"object {path.name}": path.read_bytes() for path in files_below(site.state_dir / "objects")}
    logs = [*(site.state_dir / "log").glob("*.log"), *logs_of(servers)]
    channels |= tables | objects | {f"log {path}": path.read_bytes() for path in logs}
    channels |= {f"metrics {one.name}": text.encode() for one, text in metrics.items()}
    channels |= {"status": look.encode(), "answers": repr([(one.status, one.comment) for one in sent]).encode()}
    channels |= {f"answer to {path.name}": told_anew(answer) for path, answer in answers.items()}
    channels["publish"] = published.stderr + repr([one["reason"] for one in results]).encode()

    accepted = sum(one["event_id"] is not None for one in results)
    by_adapter = len(stored.keys() - answers.keys()), len(stored.keys() & answers.keys()), accepted
    assert all(count >= least for count, least in zip(by_adapter, (200, 50, 100), strict=True)), by_adapter
    assert len(objects) > 10, "large objects went to the store"
    assert all(channels[f"table public.{name}"] for name in ("diagnosis", "dead_letter"))
    assert {path.stem for path in logs} >= {"adapter", "stow", "folder", "preprocess", "inference", "sink"}
    assert {one.service for one in metrics} == {"adapter", "dicom", "stow", "folder", "preprocess", "inference", "sink"}

    # Whoever was planted is on no channel, pixels included, since no one was planted there.
    for who, person in PEOPLE.items():
        for place in (known, known_rows):
            assert list(found([person.patient_id.encode()], place)), f"the search finds {who} where they are"
    needles = {needle for person in PEOPLE.values() for needle in person.needles() if len(needle) >= ANYWHERE}
    for place, content in channels.items():
        assert not list(found(needles, content)), place

    # Nor is anything, in the object that came of a file, that the standard's table or a private element held in it.
    headers, values, uids, left = headers_of(site, site_codec, objects), 0, set[bytes](), dict[str, list[bytes]]()
    for path, event_id in stored.items():
        if path in generated.person:
            short = {needle for needle in PEOPLE[generated.person[path]].needles() if len(needle) < ANYWHERE}
            left[path.name] = list(found(short, headers[event_id]))
        elif path not in generated.files:
            identifying = list(listed(path))
            values += len(identifying)
            uids |= {value for value in identifying if value.startswith((b"1.", b"2.")) and len(value) > ANYWHERE}
            left[path.name] = list(found(identifying, headers[event_id]))
    assert not {name: some for name, some in left.items() if some}
    for place, content in channels.items():
        assert not list(found(uids, b"\n".join(re.findall(rb"[0-9.]{9,}", content)))), place

    size = sum(map(len, channels.values()))
    sys.stderr.write(
        f"\n{len(sent)} objects sent by C-STORE and {len(answers)} by STOW-RS ({len(stored)} stored), "
        f"{len(results)} published ({accepted} accepted), 3 and a picture through a folder; "
        f"{generated.planted} values planted in {len(generated.files)} generated objects and {planted.planted} in "
        f"{len(planted.files)} files; {values} values and {len(uids)} UIDs of the files as they are; "
        f"{len(channels)} channels of {size} bytes searched\n"
    )


def add_picture(inbox: Path) -> None:
    """A picture, and whose it is: in its sidecar, in its name and in its metadata."""
    person = PEOPLE["latin"]
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = exif[ExifTags.Base.ImageDescription] = f"{person.name} {person.patient_id}"
    name = f"zwyrtek-{person.patient_id}"
    Image.new("RGB", (640, 480), "tan").save(inbox / f"{name}.png", exif=exif)
    sidecar = {
        "version": 1,
        "patient": {"id": person.patient_id, "name": person.name, "birth_date": "1948-03-17"},
        "accession_number": person.accession_number,
        "series_description": person.name,
        "modality": "OT",
        "acquired_at": "2026-05-01T10:30:00+02:00",
        "burned_in_annotation": False,
        "device": {"manufacturer": "Derma Ltd", "serial_number": person.patient_id},
    }
    (inbox / f"{name}.json").write_text(json.dumps(sidecar))


def store(client: httpx.Client, port: int, path: Path) -> httpx.Response:
    """The answer to a file sent by STOW-RS."""
    return client.post(f"http://127.0.0.1:{port}/studies", content=path.read_bytes(), timeout=60)


def event_id_of(path: Path) -> str:
    return str(image_event_id(hashlib.sha256(part10.parse(path.read_bytes()).dataset).digest()))


def told_anew(answer: httpx.Response) -> bytes:
    """What an answer says, but for the UIDs by which the client knows its own instances (PS3.18 section I.2)."""
    module = answer.json()
    for items in (element.get("Value", []) for element in module.values()):
        for item in filter(lambda item: isinstance(item, dict), items):
            item.pop(REFERENCED_SOP_INSTANCE, None)
    return repr((answer.status_code, dict(answer.headers), module)).encode()


def sent_by(device: Device, paths: Sequence[Path]) -> list[Sent]:
    """What becomes of each; what was not answered goes once more, as devices have it."""
    sent = list(device.send(paths))
    unanswered = [one.path for one in sent if one.status is None]
    return [*(one for one in sent if one.status is not None), *device.send(unanswered)]


def publish(paths: list[Path], site, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "radiolog", "publish", "--json", *map(str, paths)],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )


def until(condition: Callable[[], bool]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        pause.wait(0.2)


def settled(site, acknowledged: set[str]) -> bool:
    """Whether every image has become a diagnosis or a dead letter, and every identity a row."""
    name = IDENTITIES.full_name(site.topic_prefix)
    images, ((stored,),) = asyncio.run(
        fetch(
            site,
            "select image_event_id from diagnosis union select image_event_id from dead_letter",
            f"select coalesce(sum(next_offset), 0) from sink_position where topic = '{name}'",
        )
    )
    return acknowledged <= {str(image) for (image,) in images} and stored == sum(end for _, _, end in ends(site, name))


def logs_of(servers) -> Iterator[Path]:
    """What the embedded servers say; Kafka's own folder holds the topics, `identities` among them."""
    for path in servers.state_dir.parent.glob("stack/**/*.log"):
        if not path.is_relative_to(servers.state_dir.parent / "stack" / "kafka" / "data"):
            yield path


def files_below(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def headers_of(site, codec, objects: dict[str, bytes]) -> dict[str, bytes]:
    """Every byte of an image's event, its object included, but those of the pixels; by event."""
    headers = {}
    for item in read(site, codec, pin(site, IMAGES)):
        event = item.event
        ref = event.payload_ref
        payload = objects[f"object {ref.sha256.hex()}"] if ref else event.payload
        file = part10.parse(payload)
        pixels = dicom_object.split(file.dataset, file.transfer_syntax, LIMIT).pixels
        rest = event.model_dump(exclude={"payload", "received_sha256", "event_id", "received_at", "published_at"})
        headers[str(event.event_id)] = payload[: len(payload) - len(pixels)] + repr(rest).encode()
    return headers


def listed(path: Path) -> Iterator[bytes]:
    """The values of what the table of PS3.15 lists and of private elements, but for those that also stand elsewhere."""
    try:
        dataset = dcmread(path, force=True, stop_before_pixels=True)
    except Exception:
        return
    values = list(values_of(dataset))
    free = (
        b"\n".join(value for stays, value in values if stays)
        + repr((METHOD, METHOD_CODES, DUMMY_TEXT)).encode().lower()
    )
    for stays, value in values:
        if not stays and len(set(value)) > 1 and len(value) >= IN_A_HEADER and value not in free:
            yield value


@cache
def is_listed(tag: BaseTag) -> bool:
    exact = {entry[0] << 16 | entry[1] for entry in ALL_TAGS if len(entry) == 2}
    masked = [entry for entry in ALL_TAGS if len(entry) == 4]
    return tag in exact or any(tag.group & entry[2] == entry[0] & entry[2] for entry in masked)


def values_of(dataset: Dataset) -> Iterator[tuple[bool, bytes]]:
    """Each value as it stands in the bytes, at any depth, in lower case; and whether it stays in its place."""
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag).value
        try:
            element = dataset[tag]
        except Exception:
            continue
        if element.VR == "SQ":
            for item in element.value or []:
                yield from values_of(item)
        elif isinstance(raw, bytes):
            retained = element.VR in RETAINED or tag in DESCRIBING
            stays = not tag.is_private and (retained or not is_listed(tag))
            yield from ((stays, value.strip(b"\0 ").lower()) for value in raw.split(b"\\"))


async def fetch(site, *queries: str) -> list[list[tuple]]:
    connection = await asyncpg.connect(site.database_url.get_secret_value())
    try:
        return [[tuple(row) for row in await connection.fetch(query)] for query in queries]
    finally:
        await connection.close()


async def dump(site) -> dict[str, bytes]:
    """Every table and view of the database as text, by its name."""
    connection = await asyncpg.connect(site.database_url.get_secret_value())
    try:
        names = await connection.fetch(
            "select table_schema || '.' || table_name from information_schema.tables "
            "where table_schema not in ('pg_catalog', 'information_schema')"
        )
        tables = {}
        for (name,) in names:
            out = BytesIO()
            await connection.copy_from_query(f"select * from {name}", output=out)
            tables[name] = out.getvalue()
        return tables
    finally:
        await connection.close()


def _consumer(site) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": site.bootstrap_servers,
            "group.id": f"{site.app}-search",
            "isolation.level": "read_uncommitted",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
        }
    )


def ends(site, name: str) -> list[tuple[str, int, int]]:
    consumer = _consumer(site)
    try:
        return [
            (name, partition, consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=30)[1])
            for partition in consumer.list_topics(name, timeout=30).topics[name].partitions
        ]
    finally:
        consumer.close()


def topics(site) -> dict[str, bytes]:
    """Keys, headers and values of every record, aborted ones too, by topic."""
    content, consumer = {}, _consumer(site)
    try:
        for name in (topic.full_name(site.topic_prefix) for topic in TOPICS):
            parts = [name.encode()]
            for _, partition, end in ends(site, name):
                here = TopicPartition(name, partition, 0)
                consumer.assign([here])
                while end and consumer.position([here])[0].offset < end:
                    if (message := consumer.poll(1.0)) is not None and message.error() is None:
                        parts += [message.key() or b"", repr(message.headers()).encode(), message.value() or b""]
            content[name] = b"\n".join(parts)
    finally:
        consumer.close()
    return content
