"""The object store's promises, on a folder and on a bucket."""

import hashlib
import os
import pickle
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radiolog.log.errors import LogUnavailable
from radiolog.log.objects import ObjectAltered, ObjectMissing, ObjectStore, ObjectStoreUnavailable
from radiolog.log.objects.place import name_of, sha256_of
from radiolog.settings import Settings, SettingsError
from schemas.events import ObjectRef

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=300), max_size=4))
def test_what_is_put_is_what_is_got_and_its_name_is_its_hash(store: ObjectStore, pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    ref = store.put(*map(memoryview, pieces))
    assert ref == ObjectRef(sha256=hashlib.sha256(whole).digest(), size=len(whole))
    assert store.get(ref) == whole
    assert ref.sha256 in {entry.sha256 for entry in store.entries()}


def test_a_large_object_goes_through_in_parts(store: ObjectStore) -> None:
    piece = os.urandom(1 << 20) * 20
    ref = store.put(b"head", piece, piece)
    with store.open(ref) as content:
        assert content.read(4) == b"head"
        assert content.seek(0, os.SEEK_END) == ref.size == 4 + 2 * len(piece)
    assert [entry.size for entry in store.entries()] == [ref.size]


@given(sha256=st.binary(min_size=32, max_size=32))
def test_a_name_says_its_hash(sha256: bytes) -> None:
    name = name_of(sha256)
    assert name.startswith(f"sha256/{sha256.hex()[:2]}/")
    assert sha256_of(name) == sha256


@pytest.mark.parametrize(
    "name", ["sha256/ab/ab", f"sha256/00/{'ab' * 32}", f"sha256/AB/{'AB' * 32}", f"x/sha256/ab/{'ab' * 32}", "lock"]
)
def test_other_names_are_nothing_of_ours(name: str) -> None:
    assert sha256_of(name) is None


def test_a_missing_object_is_named(store: ObjectStore) -> None:
    store.put(b"another")
    missing = ObjectRef(sha256=hashlib.sha256(b"never put").digest(), size=9)
    with pytest.raises(ObjectMissing, match=missing.sha256.hex()):
        store.get(missing)


@pytest.mark.parametrize("size", [3, 5])
def test_another_size_than_the_event_says_is_altered(store: ObjectStore, size: int) -> None:
    ref = store.put(b"four")
    with pytest.raises(ObjectAltered):
        store.get(ref.model_copy(update={"size": size}))


def test_a_store_goes_to_another_process(store: ObjectStore) -> None:
    ref = store.put(b"content")
    assert pickle.loads(pickle.dumps(store)).get(ref) == b"content"


def test_what_is_put_again_is_young(store: ObjectStore) -> None:
    ref = store.put(b"content")
    began = datetime.now(UTC) - timedelta(seconds=2)  # a bucket's clock may count whole seconds
    assert store.put(b"content") == ref
    (entry,) = store.entries()
    assert entry.modified >= began
    assert not store.remove(ref.sha256, began)
    assert store.get(ref) == b"content"


def test_removal(store: ObjectStore) -> None:
    ref, kept = store.put(b"old"), store.put(b"other")
    assert not store.remove(ref.sha256, LONG_AGO)
    assert store.remove(ref.sha256, soon())
    assert not store.remove(ref.sha256, soon()), "it is gone already"
    with pytest.raises(ObjectMissing):
        store.get(ref)
    assert store.get(kept) == b"other"


# A folder.


def path_of(folder: Path, ref: ObjectRef) -> Path:
    return folder / name_of(ref.sha256)


@pytest.mark.parametrize("altered", [b"", b"CONTENT", b"conten", b"content and more"])
def test_an_altered_file_is_found_and_put_right_by_the_next_put(
    folder_settings: Settings, folder: Path, altered: bytes
) -> None:
    store = ObjectStore.from_settings(folder_settings)
    ref = store.put(b"content")
    path_of(folder, ref).write_bytes(altered)
    with pytest.raises(ObjectAltered, match=ref.sha256.hex()):
        store.get(ref)
    store.put(b"content")
    assert store.get(ref) == b"content"


def test_nobody_else_may_read_it(folder_settings: Settings, folder: Path) -> None:
    before = os.umask(0)
    try:
        ref = ObjectStore.from_settings(folder_settings).put(b"content")
    finally:
        os.umask(before)
    paths = [folder, *folder.rglob("*")]
    assert path_of(folder, ref) in paths
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()} == {0o600}


def test_a_file_is_private_and_synced_before_it_has_its_name(folder_settings: Settings, folder: Path, monkeypatch):
    steps, rename, fsync = [], os.rename, os.fsync

    def renaming(old: Path, new: Path) -> None:
        steps.append(("rename", stat.S_IMODE(os.stat(old).st_mode), Path(old).read_bytes()))
        rename(old, new)

    def syncing(descriptor: int) -> None:
        steps.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "rename", renaming)
    monkeypatch.setattr(os, "fsync", syncing)
    ref = ObjectStore.from_settings(folder_settings).put(b"content")
    draft, named, last = steps[-3:]
    assert draft[0] == "sync"
    assert draft[1].parent == folder / "drafts"
    assert named == ("rename", 0o600, b"content")
    assert last == ("sync", path_of(folder, ref).parent)
    assert not list((folder / "drafts").iterdir())


def test_a_put_that_breaks_off_leaves_no_draft(folder_settings: Settings, folder: Path, monkeypatch) -> None:
    def broken(old: Path, new: Path) -> None:
        raise OSError(5, "Input/output error")

    store = ObjectStore.from_settings(folder_settings)
    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(ObjectStoreUnavailable, match="Input/output error"):
        store.put(b"content")
    assert not list((folder / "drafts").iterdir())
    assert not list(store.entries())


def test_what_a_crash_left_is_tidied_once_it_is_old(folder_settings: Settings, folder: Path) -> None:
    store = ObjectStore.from_settings(folder_settings)
    store.put(b"content")
    left = folder / "drafts" / "left"
    left.write_bytes(b"half")
    store.tidy(LONG_AGO)
    assert left.exists()
    store.tidy(soon())
    assert not left.exists()
    assert len(list(store.entries())) == 1


PUT_AND_DIE = """
import os, signal, sys
from radiolog.log.objects import ObjectStore
from radiolog.settings import Settings
from pathlib import Path

os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ObjectStore.from_settings(Settings(state_dir=Path(sys.argv[1]))).put(b"content")
"""


def test_a_writer_that_is_killed_leaves_no_half_object(folder_settings: Settings, folder: Path) -> None:
    command = [sys.executable, "-c", PUT_AND_DIE, str(folder_settings.state_dir)]
    assert subprocess.run(command, check=False).returncode == -9
    store = ObjectStore.from_settings(folder_settings)
    assert not list(store.entries())
    assert len(list((folder / "drafts").iterdir())) == 1
    assert store.get(store.put(b"content")) == b"content"


def test_the_collector_and_a_second_put_at_the_same_moment(folder_settings: Settings, folder: Path) -> None:
    """Whatever the order, an object that a put came back from is there: it is put while it is removed, often."""
    store = ObjectStore.from_settings(folder_settings)
    ref, done = store.put(b"content"), threading.Event()
    removed = []

    def collect() -> None:
        other = ObjectStore.from_settings(folder_settings)
        while not done.is_set():
            removed.append(other.remove(ref.sha256, datetime.now(UTC) - timedelta(seconds=5)))

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for _ in range(300):
            with suppress(FileNotFoundError):
                os.utime(path_of(folder, ref), (0, 0))
            assert store.put(b"content") == ref
            assert store.get(ref) == b"content"
    finally:
        done.set()
        collector.join()
    assert any(removed), "the collector never came between"


def test_a_put_waits_while_the_collector_decides(folder_settings: Settings, monkeypatch) -> None:
    store, unlink = ObjectStore.from_settings(folder_settings), Path.unlink
    ref, put, came_back = store.put(b"content"), [], []

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if not put:  # the collector has looked at the age, and has not removed the file yet
            done = threading.Event()
            put.append(threading.Thread(target=lambda: (store.put(b"content"), done.set())))
            put[0].start()
            came_back.append(done.wait(0.5))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlinking)
    assert store.remove(ref.sha256, soon())
    put[0].join(30)
    assert came_back == [False], "the put found the file, and it is removed under its hands"
    assert store.get(ref) == b"content"


def test_a_folder_that_is_not_mounted_is_out_of_reach(folder_settings: Settings, folder: Path) -> None:
    store = ObjectStore.from_settings(folder_settings)
    ref = store.put(b"content")
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ObjectStoreUnavailable, match="is it mounted"):
        store.get(ref)
    folder.mkdir()
    with pytest.raises(ObjectStoreUnavailable, match="is it mounted"):
        store.get(ref)


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ObjectStore.from_settings(Settings(state_dir=tmp_path, object_store_url=f"file://{tmp_path}/file"))
    with pytest.raises(ObjectStoreUnavailable, match="RADIOLOG_OBJECT_STORE_URL"):
        store.put(b"content")


def test_a_full_disk_is_said_and_takes_objects_again_once_there_is_room(small_disk: Path) -> None:
    store = ObjectStore.from_settings(Settings(state_dir=small_disk))
    first = store.put(bytes(3 << 20))
    with pytest.raises(ObjectStoreUnavailable, match="it is full") as caught:
        store.put(b"x" * (2 << 20))
    assert isinstance(caught.value, LogUnavailable), "an adapter tells its sender to keep the object"
    assert [entry.sha256 for entry in store.entries()] == [first.sha256]
    assert not list((small_disk / "objects" / "drafts").iterdir())
    assert store.remove(first.sha256, soon())
    assert len(store.get(store.put(b"x" * (2 << 20)))) == 2 << 20


# A bucket.


def test_a_bucket_that_is_not_there(s3_settings: Settings) -> None:
    there = ObjectStore.from_settings(s3_settings)
    ref = there.put(b"content")
    gone = ObjectStore.from_settings(s3_settings.model_copy(update={"object_store_url": "s3://nowhere/site"}))
    with pytest.raises(ObjectStoreUnavailable, match="no bucket nowhere"):
        gone.get(ref)
    with pytest.raises(ObjectStoreUnavailable):
        gone.put(b"content")


def test_a_server_that_is_not_there_is_said_in_time(s3_settings: Settings, free_port: int) -> None:
    away = s3_settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port}"})
    with pytest.raises(ObjectStoreUnavailable, match=f"127.0.0.1:{free_port}") as caught:
        ObjectStore.from_settings(away).put(b"content")
    assert "hunter2" not in str(caught.value)


def test_the_environment_of_another_tool_leads_nowhere(s3_settings: Settings, bucket: str, monkeypatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "https://s3.example.org")
    monkeypatch.setenv("AWS_BUCKET", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "other")
    store = ObjectStore.from_settings(s3_settings)
    assert store.get(store.put(b"content")) == b"content"


def test_a_secret_is_not_shown(s3_settings: Settings) -> None:
    assert "hunter2" not in repr(vars(ObjectStore.from_settings(s3_settings))) + repr(s3_settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"object_store_url": "ftp://x/y"}, "RADIOLOG_OBJECT_STORE_URL"),
        ({"object_store_url": "/srv/objects"}, "RADIOLOG_OBJECT_STORE_URL"),
        ({"object_store_url": "file://host/objects"}, "RADIOLOG_OBJECT_STORE_URL"),
        ({"object_store_url": "file:///"}, "RADIOLOG_OBJECT_STORE_URL"),
        ({"object_store_url": "s3:///prefix"}, "RADIOLOG_OBJECT_STORE_URL"),
        ({"object_store_url": "s3://user:hunter2@bucket/"}, "RADIOLOG_OBJECT_STORE_URL"),
        ({"s3_endpoint": None}, "RADIOLOG_S3_ENDPOINT"),
        ({"s3_secret_access_key": None}, "RADIOLOG_S3_SECRET_ACCESS_KEY"),
        ({"s3_endpoint": "http://192.0.2.1:9000"}, "use https://"),
        ({"s3_endpoint": "http://localhost.example.org"}, "use https://"),
        ({"s3_endpoint": "minio:9000"}, "RADIOLOG_S3_ENDPOINT"),
        ({"s3_ca_location": Path("/nowhere.pem")}, "RADIOLOG_S3_CA_LOCATION"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_shown(tmp_path: Path, changes: dict, words: str) -> None:
    values = {
        "object_store_url": "s3://bucket/prefix",
        "s3_endpoint": "https://minio:9000",
        "s3_access_key_id": "key",
        "s3_secret_access_key": "hunter2",
    }
    with pytest.raises(SettingsError, match=words) as caught:
        ObjectStore.from_settings(Settings(state_dir=tmp_path, **values | changes))
    assert "hunter2" not in str(caught.value)
