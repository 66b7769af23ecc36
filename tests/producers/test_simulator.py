"""A fleet of devices: its plan and its objects are the same for a seed, and what it reports is what happened."""

import json
import logging
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from producers import part10
from producers.device import Device, DeviceError
from producers.dicom_scp import DicomAdapter
from producers.simulator import Simulator
from producers.simulator_archive import Archive, SourceError
from producers.simulator_objects import Objects
from producers.simulator_plan import BROKEN, Kind, Load, Shot, shots
from producers.simulator_report import Fate, Report, Tally
from producers.statuses import StoreStatus
from radiolog.cli import app
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import MemoryPublisher
from radiolog.service import configure_logs
from schemas.events import ImageEvent

Images = Callable[[], list[ImageEvent]]


def picture(seed: int = 0, dtype: type = np.uint8, suffix: str = ".png") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (15, 21), dtype)
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, and what is none."""
    folder = tmp_path / "archive"
    (folder / "deeper").mkdir(parents=True)
    for number, suffix in enumerate((".png", ".jpeg", ".JPG")):
        (folder / f"{number}{suffix}").write_bytes(picture(number, suffix=suffix))
    (folder / "deeper" / "3.png").write_bytes(picture(3, np.uint16))
    (folder / "index.csv").write_text("file,label\n")
    return folder


def load_of(**values: object) -> Load:
    return Load(**({"count": 40, "devices": 3, "seed": 5} | values))


def played(folder: Path, port: int, patience: float = 60.0, **values: object) -> Report:
    load = load_of(**values)
    devices = [Device("127.0.0.1", port, f"SIM-{number}") for number in range(load.devices)]
    return Simulator(devices, Objects(Archive(folder), load.seed), load, patience).run()


loads = st.builds(
    Load,
    count=st.integers(1, 300),
    devices=st.integers(1, 5),
    rate=st.none() | st.floats(0.1, 1e4),
    poisson=st.booleans(),
    burst=st.integers(1, 7),
    duplicates=st.floats(0, 0.5),
    broken=st.floats(0, 0.5),
    seed=st.integers(0, 1 << 32),
)


@given(loads)
def test_a_plan_is_the_same_for_a_seed_and_keeps_its_rules(load: Load) -> None:
    plan = list(shots(load))
    assert plan == list(shots(load))
    assert [shot.number for shot in plan] == list(range(load.count))
    assert [shot.due for shot in plan] == sorted(shot.due for shot in plan)
    for shot in plan:
        earlier = plan[shot.source]
        if shot.kind is Kind.DUPLICATE:
            assert (earlier.kind, earlier.device) == (Kind.WHOLE, shot.device)
            assert shot.source < shot.number
        else:
            assert shot.source == shot.number
        first_of_burst = plan[shot.number - shot.number % load.burst]
        assert (shot.due, shot.device) == (first_of_burst.due, first_of_burst.device)


@pytest.mark.parametrize("poisson", [True, False])
def test_rate_and_shares_are_as_asked_for(poisson: bool) -> None:
    load = Load(20_000, 4, rate=50.0, poisson=poisson, burst=2, duplicates=0.1, broken=0.2, seed=1)
    plan = list(shots(load))
    kinds = Counter(shot.kind for shot in plan)
    assert plan[-1].due == pytest.approx(400, rel=0.05)
    assert kinds[Kind.DUPLICATE] == pytest.approx(2000, rel=0.1)
    assert sum(kinds[kind] for kind in BROKEN) == pytest.approx(4000, rel=0.1)
    gaps = np.diff([shot.due for shot in plan[::2]])
    assert np.std(gaps) == pytest.approx(0.04 if poisson else 0.0, abs=0.004)  # an exponential's mean


@pytest.mark.parametrize(
    "values", [{"count": 0}, {"devices": 0}, {"burst": 0}, {"rate": 0.0}, {"broken": 0.6, "duplicates": 0.6}]
)
def test_a_load_that_makes_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        load_of(**values)


def test_pictures_become_radiographs_of_made_up_patients(folder: Path) -> None:
    objects = Objects(Archive(folder), 7)
    files = [objects.content(Shot(number, 0.0, number, number, Kind.WHOLE)) for number in range(8)]
    assert files == [objects.content(Shot(number, 1.0, number, number, Kind.WHOLE)) for number in range(8)]
    read = [dcmread(BytesIO(content)) for content in files]
    assert [image.Modality for image in read] == ["CR", "DX"] * 4
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "PatientID"):
        assert len({image[keyword].value for image in read}) == 8
    for number, name in enumerate(["0.png", None, None, "deeper/3.png"]):
        if name is not None:
            pixels = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
            np.testing.assert_array_equal(read[number].pixel_array, pixels)


def test_another_seed_makes_other_patients(folder: Path) -> None:
    shot = Shot(0, 0.0, 0, 0, Kind.WHOLE)
    one, other = (dcmread(BytesIO(Objects(Archive(folder), seed).content(shot))) for seed in (1, 2))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.PatientID != other.PatientID


def test_dicom_files_go_as_they_stand_and_later_as_images_of_their_own(
    tmp_path: Path, sample: Callable[[str], Path]
) -> None:
    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        for name in ("CT_small.dcm", "RG1_J2KI.dcm"):
            archive.write(sample(name), f"study/{name}")
        archive.writestr("study/notes.txt", "no image")
    objects = Objects(Archive(tmp_path / "files.zip"), 0)
    for number, name in enumerate(("CT_small.dcm", "RG1_J2KI.dcm")):
        first, later = (objects.content(Shot(n, 0.0, 0, n, Kind.WHOLE)) for n in (number, number + 2))
        assert first == sample(name).read_bytes()
        before, after = dcmread(BytesIO(first)), dcmread(BytesIO(later))
        assert before.PixelData == after.PixelData
        assert before.file_meta.TransferSyntaxUID == after.file_meta.TransferSyntaxUID
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            assert before[keyword].value != after[keyword].value


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_an_archive_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(SourceError, match="archive"):
        Archive(path)


def test_a_picture_that_is_none_ends_the_run(folder: Path, adapter: DicomAdapter) -> None:
    (folder / "1.jpeg").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"1\.jpeg"):
        played(folder, adapter.port)


def test_the_report_is_what_is_on_the_log(folder: Path, adapter: DicomAdapter, images: Images) -> None:
    report = played(folder, adapter.port, duplicates=0.2, broken=0.2, burst=3)
    on_log = Counter(event.event_id for event in images())
    acknowledged = Counter(o.event_id for o in report.outcomes if o.fate is Fate.ACKNOWLEDGED)
    assert acknowledged == on_log
    assert {outcome.shot.kind for outcome in report.outcomes if outcome.fate is Fate.REFUSED} <= set(BROKEN)
    assert report.count(Fate.REFUSED) == sum(report.count(Fate.REFUSED, kind) for kind in BROKEN) > 0
    assert all(report.count(Fate.ACKNOWLEDGED, kind) == 0 for kind in BROKEN)
    assert report.is_complete
    assert report.count(Fate.ACKNOWLEDGED, Kind.DUPLICATE) > 0
    assert max(on_log.values()) > 1
    assert len({event.source.peer for event in images()}) == 3
    assert report.answers[StoreStatus.SUCCESS] == len(report.latencies) == on_log.total()


def test_the_same_seed_puts_the_same_on_the_log(
    folder: Path, adapter: DicomAdapter, images: Images, publisher: MemoryPublisher
) -> None:
    once = played(folder, adapter.port, broken=0.3)
    ids = {event.event_id for event in images()}
    publisher.facts.clear()
    again = played(folder, adapter.port, broken=0.3)
    assert ids == {event.event_id for event in images()}
    assert [(o.shot, o.fate, o.event_id) for o in once.outcomes if o.shot.kind is Kind.WHOLE] == [
        (o.shot, o.fate, o.event_id) for o in again.outcomes if o.shot.kind is Kind.WHOLE
    ]


def test_while_the_log_is_away_devices_keep_their_objects_and_come_back(
    folder: Path, adapter: DicomAdapter, images: Images, publisher: MemoryPublisher
) -> None:
    publisher.failure = LogUnavailable("no broker")
    load = load_of(count=12)
    devices = [Device("127.0.0.1", adapter.port, f"SIM-{number}") for number in range(3)]

    def back_after_some_refusals(tally: Tally) -> None:
        if tally.repeats >= 3:
            publisher.failure = None

    report = Simulator(devices, Objects(Archive(folder), 5), load, 60.0).run(back_after_some_refusals)
    assert report.is_complete
    assert report.count(Fate.ACKNOWLEDGED) == 12
    assert report.repeats >= 3
    assert report.answers[StoreStatus.OUT_OF_RESOURCES] == report.repeats
    assert {event.event_id for event in images()} == {outcome.event_id for outcome in report.outcomes}


def test_what_never_goes_through_is_given_up_and_said(
    folder: Path, adapter: DicomAdapter, publisher: MemoryPublisher
) -> None:
    publisher.failure = LogUnavailable("no broker")
    report = played(folder, adapter.port, patience=0.0, count=5)
    assert (report.count(Fate.GIVEN_UP), report.is_complete, report.latency()) == (5, False, None)


def test_ctrl_c_ends_it_with_the_report(folder: Path, adapter: DicomAdapter, images: Images) -> None:
    load = load_of(count=500, rate=100.0)
    devices = [Device("127.0.0.1", adapter.port, f"SIM-{number}") for number in range(3)]

    def interrupt(tally: Tally) -> None:
        if tally.fates[Fate.ACKNOWLEDGED] >= 3:
            raise KeyboardInterrupt

    report = Simulator(devices, Objects(Archive(folder), 5), load, 60.0).run(interrupt)
    assert report.interrupted
    assert len(report.outcomes) == 500
    assert report.count(Fate.ACKNOWLEDGED) == len(images()) >= 3
    assert report.count(Fate.NOT_SENT) > 0


def test_nobody_there(folder: Path, free_port: int) -> None:
    with pytest.raises(DeviceError, match="is the adapter running"):
        played(folder, free_port)


class TestCommand:
    @staticmethod
    def run(folder: Path, port: int, *options: str) -> tuple[int, str]:
        configure_logs(logging.ERROR)  # the adapter's, which share the process
        result = CliRunner().invoke(app, ["simulate", "--source", str(folder), "--port", str(port), *options])
        return result.exit_code, result.stdout

    def test_json(self, folder: Path, adapter: DicomAdapter, images: Images) -> None:
        options = ("--count", "20", "--devices", "2", "--broken", "0.3", "--seed", "1", "--json")
        code, text = self.run(folder, adapter.port, *options)
        document = json.loads(text)
        assert code == 0
        assert document["objects"] == 20
        assert document["fates"]["acknowledged"] == document["kinds"]["whole"]["acknowledged"] == len(images())
        assert document["fates"]["refused"] == 20 - len(images()) > 0
        assert set(document["latency_seconds"]) == {"p50", "p95", "p99"}
        assert {event.source.peer for event in images()} == {"SIM-CR-1", "SIM-DX-2"}

    def test_the_archive_once_by_default(self, folder: Path, adapter: DicomAdapter, images: Images) -> None:
        code, text = self.run(folder, adapter.port)
        assert code == 0
        assert "acknowledged" in text
        assert len(images()) == 4

    def test_a_failure_shows_in_the_exit_code(
        self, folder: Path, adapter: DicomAdapter, publisher: MemoryPublisher
    ) -> None:
        publisher.failure = LogUnavailable("no broker")
        code, text = self.run(folder, adapter.port, "--patience", "0", "--json")
        assert (code, json.loads(text)["fates"]["given_up"]) == (1, 4)

    @pytest.mark.parametrize(
        "options", [("--broken", "0.7", "--duplicates", "0.7"), ("--title", "A" * 16), ("--tls-key", "key.pem")]
    )
    def test_options_that_make_no_sense(self, folder: Path, options: tuple[str, ...]) -> None:
        assert self.run(folder, 1, *options)[0] == 2


def test_a_dataset_of_no_pixels_can_be_broken_too(folder: Path, tmp_path: Path, written: Callable[..., bytes]) -> None:
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "report.dcm").write_bytes(written(report))
    objects = Objects(Archive(tmp_path / "one"), 0)
    whole = objects.content(Shot(0, 0.0, 0, 0, Kind.WHOLE))
    for kind in BROKEN:
        assert objects.content(Shot(0, 0.0, 0, 0, kind)) != whole
    assert part10.parse(whole).dataset


def test_many_threads_read_one_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"{number:02}.png", picture(number))
    archive_of_all, seen = Archive(tmp_path / "pictures.zip"), []
    threads = [
        threading.Thread(target=lambda: seen.append([archive_of_all.read(i) for i in range(30)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [[picture(number) for number in range(30)]] * 4
