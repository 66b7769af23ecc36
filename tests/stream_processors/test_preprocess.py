"""DICOM objects to model-ready pixels, with no log and no worker process."""

import pickle
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from models.bundle import load_bundle
from radiolog.log.objects import ObjectStore
from radiolog.log.stage import Emit, Reject, StageUnavailable
from radiolog.settings import Settings
from radiolog.workers import Failed, WorkerFailure
from schemas.events import PixelStatus, PixelType, derived_id
from stream_processors.decoding import ModelPixels, NoPixels, Undecodable, run
from stream_processors.preprocess import PreprocessStage


@pytest.fixture(scope="module")
def spec():
    return load_bundle("default").spec


@pytest.fixture
def objects(tmp_path):
    return ObjectStore.from_settings(Settings(state_dir=tmp_path))


@pytest.fixture
def stage(spec, objects):
    return PreprocessStage(spec, lambda jobs: [run(job) for job in jobs], objects)


def file_bytes(name: str) -> bytes:
    return Path(get_testdata_file(name, download=False)).read_bytes()


def test_an_image_becomes_pixels_with_lineage_and_the_way_back(stage, spec, received_image):
    item = received_image(file_bytes("CT_small.dcm"))
    (outcome,) = stage.process([item])
    event = outcome.facts[0].event
    assert event.status is PixelStatus.PIXELS
    assert (event.height, event.width, event.dtype) == (spec.size, spec.size, PixelType.UINT8)
    assert len(event.pixels) == spec.size**2
    assert (event.geometry.original_rows, event.geometry.original_columns) == (128, 128)
    assert event.source == item.ref
    assert event.event_id == derived_id("preprocessed", item.event.event_id, spec.sha256)
    assert (event.study_uid, event.received_at) == (item.event.study_uid, item.event.received_at)


def test_the_same_pixels_in_two_transfer_syntaxes_are_the_same(stage, received_image):
    for one, other in (("RG1_UNCR.dcm", "RG1_J2KR.dcm"), ("RG1_UNCI.dcm", "RG1_J2KI.dcm")):
        outcomes = stage.process([received_image(file_bytes(one)), received_image(file_bytes(other))])
        first, second = (outcome.facts[0].event.pixels for outcome in outcomes)
        assert first == second


@pytest.mark.parametrize("name", ["reportsi.dcm", "waveform_ecg.dcm"])
def test_an_object_without_pixels_is_no_failure(stage, received_image, name):
    (outcome,) = stage.process([received_image(file_bytes(name))])
    event = outcome.facts[0].event
    assert (event.status, event.pixels, event.geometry) == (PixelStatus.NOT_AN_IMAGE, b"", None)


@pytest.mark.parametrize("payload", [b"", b"no dicom", bytes(1000)])
def test_what_is_no_dicom_is_rejected_in_words(stage, received_image, payload):
    (outcome,) = stage.process([received_image(payload)])
    assert isinstance(outcome, Reject)
    assert outcome.error_class
    assert len(outcome.reason) > 10


def test_one_bad_object_does_not_touch_its_neighbours(stage, received_image):
    good = received_image(file_bytes("CT_small.dcm"))
    outcomes = stage.process([good, received_image(b"bad"), good])
    assert [type(outcome) for outcome in outcomes] == [Emit, Reject, Emit]


def test_an_object_in_the_store_gives_the_same_pixels(stage, objects, received_image):
    content = file_bytes("CT_small.dcm")
    referred = received_image(b"", payload_ref=objects.put(content))
    first, second = stage.process([received_image(content), referred])
    assert first.facts[0].event.pixels == second.facts[0].event.pixels


def test_a_missing_and_an_altered_object_are_rejects_of_their_own(stage, objects, received_image, tmp_path):
    content = file_bytes("CT_small.dcm")
    ref = objects.put(content)
    missing = ref.model_copy(update={"sha256": bytes(32)})
    altered = ref.model_copy(update={"size": ref.size + 1})
    items = [received_image(b"", payload_ref=one) for one in (missing, ref, altered)]
    first, good, last = stage.process(items)
    assert (first.error_class, last.error_class) == ("object_missing", "object_altered")
    assert missing.sha256.hex() in first.reason
    assert isinstance(good, Emit)


def test_a_store_that_does_not_answer_is_waited_for(stage, objects, received_image, tmp_path):
    ref = objects.put(file_bytes("CT_small.dcm"))
    (tmp_path / "objects").rename(tmp_path / "elsewhere")
    with pytest.raises(StageUnavailable, match="is it mounted"):
        stage.process([received_image(b"", payload_ref=ref)])
    (tmp_path / "elsewhere").rename(tmp_path / "objects")
    assert isinstance(stage.process([received_image(b"", payload_ref=ref)])[0], Emit)


def test_the_stage_itself_never_holds_an_object_of_the_store(spec, objects, received_image):
    jobs = []

    def decode(batch):
        jobs.extend(batch)
        return [NoPixels() for _ in batch]

    ref = objects.put(bytes(1 << 20))
    PreprocessStage(spec, decode, objects).process([received_image(b"", payload_ref=ref)])
    (job,) = jobs
    assert len(pickle.dumps(job)) < 10_000
    assert job.open_seconds > 0


@pytest.mark.parametrize("failure", list(WorkerFailure))
def test_a_failed_worker_is_a_reject_with_a_reason(spec, objects, received_image, failure):
    stage = PreprocessStage(spec, lambda jobs: [Failed(failure, "exit code -11")] * len(jobs), objects)
    (outcome,) = stage.process([received_image(b"any")])
    assert outcome == Reject(f"decoder_{failure.value}", outcome.reason)
    assert "exit code -11" in outcome.reason


def test_an_object_that_takes_too_much_memory_is_a_reject_of_its_own(spec, objects, received_image):
    stage = PreprocessStage(spec, lambda jobs: [Failed(WorkerFailure.RAISED, "MemoryError")] * len(jobs), objects)
    (outcome,) = stage.process([received_image(b"any")])
    assert outcome.error_class == "decoder_out_of_memory"
    assert "more memory" in outcome.reason


def test_decoding_says_nothing_of_the_content(received_image, spec, caplog, capfd):
    from stream_processors.decoding import Job

    content = file_bytes("CT_small.dcm")
    result = run(Job(content[: len(content) // 2], spec))
    assert isinstance(result, Undecodable | ModelPixels)
    assert "CompressedSamples" not in str(result) + caplog.text + "".join(capfd.readouterr())
