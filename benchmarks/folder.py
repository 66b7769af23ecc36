"""What the folder adapter costs when its folder is full: time of a look, time per file, memory.

    .venv/bin/python benchmarks/folder.py 100000 /var/tmp
    .venv/bin/python benchmarks/folder.py 1000000 /var/tmp

fills an inbox in a folder of /var/tmp with so many small DICOM files, looks at it, publishes a few rounds of them to a
log that takes everything at once, then puts as many files into today's done/ and publishes a few rounds more. What is
printed is the adapter's own cost; a log adds the broker's answer, which several files wait for side by side.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

import psutil
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from producers.folder import DONE, ROUND, FolderWatcher
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.publisher import Fact
from radiolog.service import configure_logs
from radiolog.settings import load_settings

LOOKS = 5
ROUNDS = 3
MIB = 1 << 20
PLACEHOLDER = "1.2.3.000000000000"


class EndlessLog:
    """A log that takes everything and keeps nothing."""

    def __init__(self) -> None:
        self.published = 0
        self._lock = threading.Lock()

    def publish(self, facts: Sequence[Fact]) -> None:
        """Counts."""
        with self._lock:
            self.published += 1


def main(files: int, place: str = "/tmp") -> None:  # noqa: S108 - where it is told to
    """Prints the figures."""
    configure_logs(40)
    with tempfile.TemporaryDirectory(prefix="radiolog-folder-", dir=place) as folder:
        inbox = Path(folder, "inbox")
        inbox.mkdir()
        content = small_object()
        print(f"{files} files of {len(content)} bytes in the inbox")
        timed("to write them", lambda: fill(inbox, content, files), files)
        settings = load_settings(state_dir=folder, site_secret="0" * 64)
        log = EndlessLog()
        watcher = FolderWatcher(inbox, Intake(log, Pseudonyms(b"0" * 32), settings), settings.folder_poll_seconds)
        look(watcher)
        publish(watcher, log)
        shelf = inbox / DONE / datetime.now().astimezone().date().isoformat()
        timed(f"to put {files} more into done/", lambda: fill(shelf, content, files), files)
        publish(watcher, log)
        empty(inbox)
        look(watcher)


def look(watcher: FolderWatcher) -> None:
    """Times looks that publish nothing: the process is told to stop, so what has settled stays."""
    stop = threading.Event()
    stop.set()
    seconds = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        watcher.scan(stop)
        seconds.append(time.perf_counter() - began)
    print(f"a look: {min(seconds):.3f} to {max(seconds):.3f} s; {resident()}")


def publish(watcher: FolderWatcher, log: EndlessLog) -> None:
    """Times rounds, the look of each included."""
    watcher.scan()
    log.published, began, cpu = 0, time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        watcher.scan()
    each = 1000 / log.published
    print(
        f"{log.published} files published in {ROUNDS} rounds of {ROUND}: {each * (time.perf_counter() - began):.2f} ms "
        f"each, {each * (time.process_time() - cpu):.2f} of them of this process's processor time; {resident()}"
    )


def fill(folder: Path, content: bytes, files: int) -> None:
    """Writes objects that differ in their SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    before, after = content.split(PLACEHOLDER.encode())
    for number in range(files):
        with open(folder / f"image-{number:07d}.dcm", "wb", buffering=0) as file:
            file.write(before + f"1.2.3.{number + 10**11:012d}".encode() + after)


def empty(inbox: Path) -> None:
    """Removes what is still to do, as if it were done."""
    for entry in os.scandir(inbox):
        if entry.is_file():
            os.unlink(entry.path)


def small_object() -> bytes:
    """A complete image of 16 by 16 pixels."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, PLACEHOLDER
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "MRN-4711", "Doe^Jane", "CR"
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 7, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = bytes(256)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file = BytesIO()
    dcmwrite(file, dataset)
    return file.getvalue()


def timed(what: str, work: Callable[[], None], count: int) -> None:
    """Runs `work` and says how long it took."""
    began = time.perf_counter()
    work()
    print(f"{what}: {1000 * (time.perf_counter() - began) / count:.3f} ms each")


def resident() -> str:
    """Memory of this process."""
    return f"{psutil.Process().memory_info().rss / MIB:.0f} MiB resident"


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
