"""A decode process that fetches from a bucket, and from one that is away."""

from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from models.bundle import load_bundle
from radiolog.log.objects import ObjectStore, StoredObject
from radiolog.workers import WorkerPool
from stream_processors.decoding import Job, ModelPixels, Unavailable, Undecodable, run


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(run, 1, 60, more_seconds=lambda job: job.open_seconds) as pool:
        yield pool


def test_a_decode_process_reads_a_bucket_and_tells_missing_from_away(pool, s3_settings, free_port) -> None:
    spec = load_bundle("default").spec
    content = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
    store = ObjectStore.from_settings(s3_settings)
    away = ObjectStore.from_settings(s3_settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port}"}))
    ref = store.put(content)
    missing = ref.model_copy(update={"sha256": bytes(32)})
    jobs = [
        Job(payload, spec)
        for payload in (content, StoredObject(ref, store), StoredObject(missing, store), StoredObject(ref, away))
    ]
    inline, fetched, gone, unknown = pool.map(jobs)
    assert isinstance(fetched, ModelPixels)
    assert fetched == inline
    assert isinstance(gone, Undecodable)
    assert gone.error_class == "object_missing"
    assert isinstance(unknown, Unavailable)
    assert "hunter2" not in unknown.reason
