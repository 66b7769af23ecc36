"""How long one image takes, step by step, when nothing else is under way.

With `radiolog stack up`, `radiolog topics apply`, `radiolog database migrate` and `radiolog run all` running:

    .venv/bin/python benchmarks/latency.py RG1_UNCR.dcm 20

Sends the file that many times over DICOM, each time with another Instance Number and so as another image, and waits for
its row before it sends the next.
"""

import sys
import tempfile
import threading
from pathlib import Path
from uuid import UUID

from pydicom import dcmread
from pydicom.data import get_testdata_file

from producers.device import Device
from radiolog.demo.report import STEPS, percentiles
from radiolog.settings import load_settings
from sinks.queries import Database, DiagnosisRow


def main(name: str, count: int) -> None:
    """Prints the median and the 95th percentile of each step, in milliseconds."""
    settings = load_settings()
    device = Device("127.0.0.1", settings.dicom_port, "LATENCY", settings.dicom_ae_title)
    dataset = dcmread(str(get_testdata_file(name, download=False)))
    rows: list[DiagnosisRow] = []
    with tempfile.TemporaryDirectory() as folder, Database(settings.database_url.get_secret_value()) as database:
        for number in range(count):
            path = Path(folder) / f"{number}.dcm"
            dataset.InstanceNumber = number
            dataset.save_as(path)
            (sent,) = device.send([path])
            rows += awaited(database, sent.event_id)
    for step, ends in STEPS.items():
        figures = percentiles(rows, *ends)
        print(f"{name}  {step:<29} p50 {figures['p50_ms']:6.0f} ms   p95 {figures['p95_ms']:6.0f} ms")


def awaited(database: Database, image: UUID) -> list[DiagnosisRow]:
    """The rows of the image, once they are there."""
    poll = threading.Event()
    while not (rows := database.diagnoses([image])):
        poll.wait(0.005)
    return rows


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
