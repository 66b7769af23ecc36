"""What the processes of a site tell of themselves while images of a patient go through them: all counts, no names."""

import json
import threading
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from producers.device import Device
from radiolog.instances import instances
from radiolog.probes import ask
from radiolog.services import services
from radiolog.status.counters import Counters
from radiolog.status.report import to_json
from radiolog.status.site import STAGES, Site
from radiolog.supervisor import Supervisor
from tests.sites import environment_of

IDENTIFIERS = {
    "PatientName": "Wintermute^Neuromancer",
    "PatientID": "PID-990417731",
    "AccessionNumber": "ACC-55120388",
    "StudyInstanceUID": "1.2.826.0.1.3680043.9.7741.990417731",
    "InstitutionName": "Chiba City General",
    "ReferringPhysicianName": "Molly^Razorgirl",
    "PatientBirthDate": "19480317",
    "StudyDescription": "Wintermute ward 17",
}
WORDS = ("Wintermute", "Neuromancer", "990417731", "55120388", "Chiba", "Razorgirl", "19480317")
IMAGES, BROKEN = 4, 2


@pytest.fixture
def objects(tmp_path) -> list[Path]:
    """Good ones, ones that preprocess has to reject, and one that the adapter has to."""
    paths = []
    for number in range(IMAGES + BROKEN):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
        for name, value in IDENTIFIERS.items():
            setattr(dataset, name, value)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        if number >= IMAGES:
            dataset.PixelData = dataset.PixelData[:1000]
        paths.append(tmp_path / f"Wintermute-{number}.dcm")
        dataset.save_as(paths[-1])
    return paths


@pytest.mark.timeout(240)
def test_all_is_counted_and_no_name_is_told(site, objects, free_port, tmp_path):
    site = site.model_copy(update={"state_dir": tmp_path / "state"})
    environment = environment_of(site, dicom_port=free_port, dicom_acceptors=2)
    device = Device("127.0.0.1", free_port, "TEST-CR", site.dicom_ae_title)
    with Supervisor(services(site, environment)) as supervisor, Site(site) as looks:
        supervisor.start(threading.Event())
        sent = list(device.send(objects))
        shown = scraped(site)
        while consumed(shown, "sink") < IMAGES + BROKEN + consumed_identities(shown):
            shown = scraped(site)
        look = to_json(looks.look())
    published = Counters.of(shown["adapter"]).published
    assert look["well"]
    assert {stage["stage"]: stage["lag"] for stage in look["stages"]} == dict.fromkeys(
        ("preprocess", "inference", "postgres"), 0
    )
    assert {stage["stage"]: stage["open_dead_letters"] for stage in look["stages"]} == {
        "preprocess": BROKEN,
        "inference": 0,
        "postgres": 0,
    }
    assert consumed(shown, "preprocess") == IMAGES + BROKEN
    assert Counters.of(shown["preprocess"]).rejected == BROKEN
    assert consumed(shown, "inference") == IMAGES
    assert consumed(shown, "sink") == published
    assert {process["state"] for process in look["processes"]} == {"ready"}

    logs = {path.stem: path.read_text() for path in (site.state_dir / "log").glob("*.log")}
    assert set(logs) == {"adapter", "preprocess", "inference", "sink"}
    for place, text in [*logs.items(), *shown.items(), ("status", json.dumps(look))]:
        for word in WORDS:
            assert word not in text, f"{word} in {place}"
    for one in sent:
        assert str(one.event_id) in logs["adapter"]
        assert str(one.event_id) in logs["preprocess"]
    assert {line["service"] for text in logs.values() for line in lines(text)} == {"adapter", "dicom", *STAGES, "sink"}
    (trace,) = {line["trace_id"] for line in lines(logs["adapter"]) if line.get("event_id") == str(sent[0].event_id)}
    steps = [name for name, text in logs.items() if any(line.get("trace_id") == trace for line in lines(text))]
    assert set(steps) == {"adapter", "preprocess", "inference", "sink"}, "one trace leads through all of them"


def scraped(site) -> dict[str, str]:
    """The metrics of each process, by service; the adapter's own are those of all its acceptors."""
    answers = {instance.service: ask(instance.probe, "/metrics") for instance in instances(site.state_dir)}
    assert {status for status, _ in answers.values()} == {200}
    return {service: text for service, (_, text) in answers.items()}


def consumed(shown: dict[str, str], service: str) -> int:
    return Counters.of(shown[service]).consumed


def consumed_identities(shown: dict[str, str]) -> int:
    """Identities are published beside the images and go straight to the sink."""
    return Counters.of(shown["adapter"]).published - IMAGES - BROKEN


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
