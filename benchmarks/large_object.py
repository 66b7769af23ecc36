"""What an object of many frames costs: in the object store, and on its way from a device to pixels.

    .venv/bin/python benchmarks/large_object.py store 200 /var/tmp

times the store in a folder of /var/tmp against plain files, for an object of 200 MiB, and the decoding of its first
frame in a process of its own. With `radiolog stack up`, `radiolog topics apply`, `radiolog database migrate` and
`radiolog run all` running, as the same user,

    .venv/bin/python benchmarks/large_object.py path 200

sends such an object over DICOM, waits for its row, and says the most memory that each process has had resident.
"""

import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid

from models.bundle import load_bundle
from producers.device import Device
from radiolog.log.objects import ObjectStore, StoredObject
from radiolog.settings import load_settings
from radiolog.workers import WorkerPool
from sinks.queries import Database
from stream_processors.decoding import Job, run

EDGE = 512
MIB = 1 << 20
REPEATS = 5


def main(what: str, mebibytes: int, folder: str = "/tmp") -> None:  # noqa: S108 - where it is told to
    """Prints the figures."""
    with tempfile.TemporaryDirectory(prefix="radiolog-large-", dir=folder) as place:
        path = Path(place) / "frames.dcm"
        write_frames(path, mebibytes * MIB // (2 * EDGE * EDGE))
        if what == "store":
            time_store(path)
        else:
            time_path(path)


def write_frames(path: Path, frames: int) -> None:
    """An object of so many frames of half a mebibyte."""
    pixels = np.random.default_rng(0).integers(0, 4096, (EDGE, EDGE), np.uint16)
    dataset = Dataset()
    dataset.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (generate_uid() for _ in range(3))
    dataset.PatientID, dataset.Modality = "LARGE", "OT"
    dataset.Rows = dataset.Columns = EDGE
    dataset.NumberOfFrames = frames
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels.tobytes() * frames
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)


def time_store(path: Path) -> None:
    """The store against plain files, and one decode process."""
    content, copy = path.read_bytes(), path.with_name("copy")
    store = ObjectStore.from_settings(
        load_settings(state_dir=path.parent, object_store_url=f"file://{path.parent}/store")
    )
    ref = store.put(content)

    def put() -> None:
        store.remove(ref.sha256, before=datetime.now(UTC) + timedelta(hours=1))
        store.put(content)

    def plain_write() -> None:
        copy.unlink(missing_ok=True)
        with copy.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    show("plain write and fsync", plain_write)
    show("put", put)
    show("put again", lambda: store.put(content))
    show("plain read", copy.read_bytes)
    show("SHA-256 alone", lambda: hashlib.sha256(content).digest())
    show("open, checked", lambda: store.open(ref).close())
    show("get, checked", lambda: store.get(ref))
    with WorkerPool(run, 1, 60) as pool:
        job = Job(StoredObject(ref, store), load_bundle("default").spec)
        pool.map([job])
        show("fetch and decode in a process", lambda: pool.map([job]))
        for worker in psutil.Process().children():
            if "spawn_main" in " ".join(worker.cmdline()):
                print(f"peak memory of that process: {peak_mebibytes(worker.pid)} MiB")


def time_path(path: Path) -> None:
    """From a device to a row, by the running services."""
    settings = load_settings()
    with Database(settings.database_url.get_secret_value()) as database:
        began = time.monotonic()
        (sent,) = Device("127.0.0.1", settings.dicom_port, "LARGE", settings.dicom_ae_title).send([path])
        print(f"{sent.status!r} after {time.monotonic() - began:.2f} s")
        poll = threading.Event()
        while not database.diagnoses([sent.event_id]):
            poll.wait(0.02)
        print(f"row after {time.monotonic() - began:.2f} s")
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = " ".join(process.info["cmdline"] or ())
        if "radiolog adapter dicom" in words or "radiolog run preprocess" in words:
            print(f"{' '.join(words.split()[-2:])}: at most {peak_mebibytes(process.pid)} MiB")
            for child in process.children():
                if "spawn_main" in " ".join(child.cmdline()):
                    print(f"  a decode process of it: at most {peak_mebibytes(child.pid)} MiB")


def show(name: str, work: Callable[[], object]) -> None:
    """Prints how long it takes: the median of a few, in milliseconds."""
    took = []
    for _ in range(REPEATS):
        began = time.monotonic()
        work()
        took.append(time.monotonic() - began)
    print(f"{name}: {1000 * sorted(took)[REPEATS // 2]:.0f} ms")


def peak_mebibytes(pid: int) -> int:
    """The most memory that a process has had resident (proc(5), VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
