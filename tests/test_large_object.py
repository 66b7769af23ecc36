"""An object of 200 MB and many frames, from a device to pixels: every process and server real."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

from models.bundle import load_bundle
from models.pixels import decode, to_model_input
from producers.device import Device
from producers.statuses import StoreStatus
from radiolog.log.clients import KafkaClients
from radiolog.log.objects import ObjectStore
from radiolog.log.replay import pin, read
from radiolog.services import services
from radiolog.supervisor import Supervisor
from schemas.events import PixelStatus
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED
from tests.sites import environment_of

MIB = 1 << 20
FRAMES, EDGE = 400, 512  # of 16 bits each: 200 MiB


def write_frames(path: Path) -> None:
    """A multi-frame object whose first frame is unlike the others."""
    across = np.add.outer(np.arange(EDGE), np.arange(EDGE)).astype(np.uint16)
    dataset = Dataset()
    dataset.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (generate_uid() for _ in range(3))
    dataset.PatientID, dataset.PatientName, dataset.Modality = "MRN-4711", "Kowalska^Anna", "CR"
    dataset.Rows = dataset.Columns = EDGE
    dataset.NumberOfFrames = FRAMES
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = across.tobytes() + across[::-1].tobytes() * (FRAMES - 1)
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident (proc(5), VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not say")


@pytest.fixture
def own_site(site, tmp_path):
    """A site whose object store is the test's own."""
    return site.model_copy(update={"state_dir": tmp_path / "state"})


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel for the peak of memory")
@pytest.mark.timeout(180)
def test_200_megabytes_go_through(own_site, site_codec, free_port, tmp_path):
    path = tmp_path / "frames.dcm"
    write_frames(path)
    environment = environment_of(own_site, dicom_port=free_port, decode_workers=1)
    wanted = [one for one in services(own_site, environment) if one.name in ("adapter", "preprocess")]
    poll = threading.Event()
    with Supervisor(wanted) as supervisor:
        supervisor.start(threading.Event())
        pids = supervisor.pids()
        (worker,) = (p for p in psutil.Process(pids["preprocess"]).children() if "spawn_main" in " ".join(p.cmdline()))
        before = {name: peak_bytes(pid) for name, pid in pids.items()}
        (answer,) = Device("127.0.0.1", free_port).send([path])
        assert answer.status is StoreStatus.SUCCESS, answer.comment
        while not events(own_site, site_codec, PREPROCESSED) and not events(own_site, site_codec, DEAD_LETTERS):
            poll.wait(0.1)
        grown = {name: peak_bytes(pid) - before[name] for name, pid in pids.items()}
        decoding = peak_bytes(worker.pid)

    (image,) = events(own_site, site_codec, IMAGES)
    assert image.payload == b""
    assert image.payload_ref.size > 200 * MIB
    store = ObjectStore.from_settings(own_site)
    with store.open(image.payload_ref) as file:
        head = file.read(1 << 16)
        assert b"Kowalska" not in head
        assert head[128:132] == b"DICM"
        file.seek(0)
        pixels, _ = to_model_input(decode(file), load_bundle("default").spec)
    (made,) = events(own_site, site_codec, PREPROCESSED)
    assert made.status is PixelStatus.PIXELS
    assert made.pixels == pixels.tobytes()
    assert grown["preprocess"] < 30 * MIB, "the stage itself never has the object"
    assert decoding < 150 * MIB, "the decode process has one frame of it"
    assert grown["adapter"] < 300 * MIB, "the adapter has the object once, as it came"
    # Nothing is too old yet, and the object is named: the collector leaves it.
    collected = subprocess.run(
        [sys.executable, "-m", "radiolog", "objects", "gc", "--json"],
        env=wanted[0].environment | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(collected.stdout)
    assert (answer["events"], answer["young"], answer["removed"]) == (1, 1, 0)


def events(settings, codec, topic):
    """What is on a topic now."""
    return [item.event for item in read(settings, codec, pin(settings, topic, KafkaClients(settings)))]
