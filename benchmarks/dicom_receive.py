"""What the DICOM adapter takes, beside two receivers that write files: pynetdicom's storescp and DCMTK's.

    .venv/bin/python benchmarks/dicom_receive.py [--json FILE] [--rounds 3] [--case "0.5 MB"] [--acceptors N] [--nagle]

It starts servers of its own, and needs DCMTK's `storescu` and `storescp` (Debian's package dcmtk).

- radiolog: `radiolog adapter dicom` onto Kafka. An answer means that the broker has the object, de-identified.
- pynetdicom: `python -m pynetdicom storescp`, as it comes, a file an object. An answer means that the file was written.
- DCMTK: `storescp --fork`, likewise, a process an association.

The senders are processes of `storescu`, one association each, that begin together; each sends its share of the objects
and waits for every answer. The receivers take turns: each sees the same files from the same number of senders, and who
begins changes from one round to the next. Figures are medians over the rounds. An object counts if it was answered with
success; a sender that got no association is one refused.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from own_servers import SEGMENT_BYTES, admin_of, own_servers, surroundings
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, VerificationPresentationContexts

from radiolog.log.topics import apply
from radiolog.settings import Settings
from radiolog.supervisor import Service, Supervisor
from schemas.registry import ConfluentRegistry
from schemas.topics import IMAGES

PARTITIONS = 6
KEPT_BYTES = 256 << 20
"""What a partition keeps: nobody reads it, and the disk is not to hold it all."""
START_SECONDS = 60.0
TURN_SECONDS = 300.0
SENDERS = (1, 4, 16)
GOAL = 2.0
STOCK = "pynetdicom"
QUICK = {"TCP_NODELAY": "1"}
"""For DCMTK's ends, which by default wait for acknowledgements (RFC 896), up to 40 ms an object."""
STORED, REJECTED = "Received Store Response (Success)", "Association Rejected"


@dataclass(frozen=True, slots=True)
class Case:
    """Square images of 16 bits: how many pixels wide, and how many objects make a turn."""

    name: str
    width: int
    objects: int


CASES = (Case("0.5 MB", 512, 480), Case("7 MB", 1870, 64))


@dataclass(frozen=True, slots=True)
class Receiver:
    """A storage SCP: where it listens, as what, and where it leaves files; None for one that leaves none."""

    name: str
    port: int
    ae_title: str
    pid: int
    folder: Path | None

    def cpu_seconds(self) -> float:
        """What its processes have used so far, those that ended included."""
        process = psutil.Process(self.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one receiver made of one round: seconds, objects acknowledged, senders refused, others that failed."""

    seconds: float
    stored: int
    refused: int
    failed: int
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Objects acknowledged per second."""
        return self.stored / self.seconds


@dataclass(slots=True)
class Result:
    """One receiver under one number of senders."""

    case: str
    senders: int
    receiver: str
    object_bytes: int
    turns: list[Turn] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median of objects per second."""
        return statistics.median(turn.rate for turn in self.turns)

    def summary(self) -> dict[str, Any]:
        """Medians and spread."""
        rates = [turn.rate for turn in self.turns]
        return asdict(self) | {
            "objects per second": {"median": self.rate, "least": min(rates), "greatest": max(rates)},
            "MB per second": self.rate * self.object_bytes / 1e6,
            "refused": max(turn.refused for turn in self.turns),
            "failed": max(turn.failed for turn in self.turns),
            "CPU ms per object": 1e3
            * statistics.median(turn.cpu_seconds / turn.stored for turn in self.turns if turn.stored),
        }


def write_object(path: Path, width: int, seed: int) -> None:
    """A radiograph of noise, with the header of a real one's length."""
    pixels = np.random.default_rng(seed).integers(0, 4096, (width, width), dtype=np.uint16)
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName = f"MRN-{seed}", f"Doe^Jane {seed}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19700101", "F", "054Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240501"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber, dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = f"A{seed}", "1", 1, seed
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Maker", "Model"
    dataset.InstitutionName, dataset.StationName = "Hospital", "CR1"
    dataset.ReferringPhysicianName, dataset.StudyDescription = "Roe^Richard", "Chest"
    dataset.Rows = dataset.Columns = width
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth, dataset.PixelSpacing = 2048, 4096, [0.2, 0.2]
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def written(folder: Path, case: Case, tell: Callable[[str], None]) -> list[Path]:
    """The case's objects as files."""
    tell(f"{case.name}: writing {case.objects} objects")
    paths = [folder / f"{number:04}.dcm" for number in range(case.objects)]
    for number, path in enumerate(paths):
        write_object(path, case.width, number)
    return paths


def send(receiver: Receiver, paths: Sequence[Path], senders: int, work: Path) -> Turn:
    """All the senders at once; returns when the last has ended."""
    began, cpu = time.perf_counter(), receiver.cpu_seconds()
    running = []
    for number in range(senders):
        command = ["storescu", "--verbose", "--required", "-aet", f"SENDER{number}", "-aec", receiver.ae_title]
        command += ["127.0.0.1", str(receiver.port), *map(str, paths[number::senders])]
        output = (work / f"{number}.log").open("wb")
        running.append((subprocess.Popen(command, stdout=output, stderr=output, env=os.environ), output))
    for process, output in running:
        process.wait(TURN_SECONDS)
        output.close()
    seconds = time.perf_counter() - began
    said = [(work / f"{number}.log").read_text(errors="replace") for number in range(senders)]
    refused = sum(REJECTED in text for text in said)
    failed = sum(process.returncode != 0 for process, _ in running) - refused
    stored = sum(text.count(STORED) for text in said)
    return Turn(seconds, stored, refused, max(0, failed), receiver.cpu_seconds() - cpu)


def echoes(port: int, ae_title: str) -> bool:
    """Whether it answers to C-ECHO."""
    association = AE().associate("127.0.0.1", port, VerificationPresentationContexts, ae_title=ae_title)
    if association.is_established:
        association.release()
        return True
    return False


def await_answer(receiver: Receiver) -> Receiver:
    """The receiver, once it answers."""
    poll, deadline = threading.Event(), time.monotonic() + START_SECONDS
    while not echoes(receiver.port, receiver.ae_title):
        if time.monotonic() > deadline:
            raise SystemExit(f"{receiver.name} does not answer")
        poll.wait(0.2)
    return receiver


@contextmanager
def adapter(settings: Settings, port: int, acceptors: int | None) -> Iterator[Receiver]:
    """The DICOM adapter, onto the servers of the settings."""
    environment = {
        "RADIOLOG_STATE_DIR": str(settings.state_dir),
        "RADIOLOG_TOPIC_PREFIX": settings.topic_prefix,
        "RADIOLOG_SITE_SECRET": settings.require_site_secret().decode(),
        "RADIOLOG_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "RADIOLOG_SCHEMA_REGISTRY_URL": settings.schema_registry_url,
        "RADIOLOG_DICOM_PORT": str(port),
    } | ({} if acceptors is None else {"RADIOLOG_DICOM_ACCEPTORS": str(acceptors)})
    command = (sys.executable, "-m", "radiolog", "adapter", "dicom")
    service = Service("adapter", command, settings.state_dir / "log" / "adapter.log", environment)
    with Supervisor([service]) as supervisor:
        supervisor.start(threading.Event())
        yield await_answer(Receiver("radiolog", port, settings.dicom_ae_title, supervisor.pids()["adapter"], None))


@contextmanager
def file_writer(name: str, command: Sequence[str], port: int, folder: Path) -> Iterator[Receiver]:
    """A receiver that leaves a file an object in a folder."""
    folder.mkdir()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        yield await_answer(Receiver(name, port, "STORESCP", process.pid, folder))
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def receivers(settings: Settings, work: Path, acceptors: int | None) -> Iterator[list[Receiver]]:
    """The three of them, each ready."""
    ours, theirs, dcmtk = free_port(), free_port(), free_port()
    stock = (sys.executable, "-m", "pynetdicom", "storescp", str(theirs), "-od", str(work / "stock"), "--quiet")
    fork = ("storescp", "--fork", "--quiet", "-aet", "STORESCP", "-od", str(work / "dcmtk"), str(dcmtk))
    with ExitStack() as stack:
        yield [
            stack.enter_context(adapter(settings, ours, acceptors)),
            stack.enter_context(file_writer(STOCK, stock, theirs, work / "stock")),
            stack.enter_context(file_writer("DCMTK", fork, dcmtk, work / "dcmtk")),
        ]


def measure(
    settings: Settings, cases: Sequence[Case], rounds: int, acceptors: int | None, tell: Callable[[str], None]
) -> list[Result]:
    """Every case with every number of senders, each receiver in turn."""
    results: dict[tuple[str, int, str], Result] = {}
    list(apply(settings, ConfluentRegistry.from_settings(settings)))
    keep_little(settings)
    with tempfile.TemporaryDirectory(prefix="radiolog-receive-") as name:
        work = Path(name)
        with receivers(settings, work, acceptors) as found:
            for case in cases:
                (work / "objects").mkdir()
                paths = written(work / "objects", case, tell)
                for receiver in found:
                    send(receiver, paths[:16], 4, work)  # until each is warm
                for senders in SENDERS:
                    for turn in range(rounds):
                        for receiver in found[turn % 3 :] + found[: turn % 3]:
                            key = (case.name, senders, receiver.name)
                            result = results.setdefault(key, Result(*key, paths[0].stat().st_size))
                            result.turns.append(one := send(receiver, paths, senders, work))
                            tell(f"{case.name}, {senders} senders, {receiver.name}: {one.rate:.1f}/s")
                            _tidy(receiver)
                shutil.rmtree(work / "objects")
    return list(results.values())


def keep_little(settings: Settings) -> None:
    """Lets the broker delete what is old."""
    name = IMAGES.full_name(settings.topic_prefix)
    values = {"retention.bytes": str(KEPT_BYTES), "segment.bytes": str(SEGMENT_BYTES)}
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in values.items()]
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    admin = admin_of(settings)
    admin.incremental_alter_configs([change])[change].result(30)


def _tidy(receiver: Receiver) -> None:
    """Removes the files, so that the next turn finds none of its own."""
    if receiver.folder is not None:
        for path in receiver.folder.iterdir():
            path.unlink()


def free_port() -> int:
    """A port that nothing listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table(results: Sequence[Result]) -> str:
    """As a table in Markdown."""
    lines = [
        "| object | senders | receiver | objects/s (spread) | MB/s | of stock | refused | failed | CPU ms an object |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        figures = one.summary()
        rate = figures["objects per second"]
        lines.append(
            f"| {one.case} | {one.senders} | {one.receiver} | {rate['median']:.1f} ({rate['least']:.1f} to "
            f"{rate['greatest']:.1f}) | {figures['MB per second']:.1f} | {of_stock(one, results):.2f} | "
            f"{figures['refused']} | {figures['failed']} | {figures['CPU ms per object']:.1f} |"
        )
    return "\n".join(lines)


def of_stock(one: Result, results: Sequence[Result]) -> float:
    """Its rate, with pynetdicom's own as 1."""
    (stock,) = [r for r in results if (r.case, r.senders, r.receiver) == (one.case, one.senders, STOCK)]
    return one.rate / stock.rate


def main() -> int:
    """Prints the table; exit code 1 if the goal is missed: twice stock at 16 senders, and nobody refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="for each case and number of senders")
    parser.add_argument("--case", help="only cases whose name begins so")
    parser.add_argument("--acceptors", type=int, help="of the adapter; by default one a core")
    parser.add_argument("--nagle", action="store_true", help="leave Nagle's algorithm on, as DCMTK does by default")
    parser.add_argument(
        "--json", metavar="FILE", help="write everything that was measured there, - for standard output"
    )
    arguments = parser.parse_args()
    if shutil.which("storescu") is None:
        parser.error("DCMTK is missing: install the package dcmtk")
    if not arguments.nagle:
        os.environ.update(QUICK)
    around = surroundings() | {"pynetdicom": version("pynetdicom"), "cores": str(len(os.sched_getaffinity(0)))}
    chosen = [case for case in CASES if case.name.startswith(arguments.case or "")]
    with own_servers(PARTITIONS) as settings:
        results = measure(
            settings, chosen, arguments.rounds, arguments.acceptors, lambda line: print(line, file=sys.stderr)
        )
    document = {"surroundings": around, "results": [one.summary() for one in results]}
    if arguments.json == "-":
        print(json.dumps(document, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in around.items()))
        print(table(results))
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(document, indent=2))
    ours = [one for one in results if one.receiver == "radiolog" and one.senders == max(SENDERS)]
    return int(any(of_stock(one, results) < GOAL or one.summary()["refused"] for one in ours))


if __name__ == "__main__":
    sys.exit(main())
