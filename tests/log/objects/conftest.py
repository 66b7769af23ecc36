"""Object stores: a folder, and a bucket on a server in this process."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from radiolog.log.objects import ObjectStore
from radiolog.settings import Settings

KEY_ID, SECRET = "key", "hunter2-is-no-secret"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3-compatible server on loopback."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, request) -> str:
    """A bucket of one test's own."""
    name = f"b{abs(hash(request.node.nodeid))}"
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_settings(s3_endpoint: str, bucket: str, tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path,
        object_store_url=f"s3://{bucket}/site/one",
        s3_endpoint=s3_endpoint,
        s3_access_key_id=KEY_ID,
        s3_secret_access_key=SECRET,
    )


@pytest.fixture
def folder_settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path)


@pytest.fixture
def folder(folder_settings: Settings) -> Path:
    """Where the folder store keeps its objects."""
    return folder_settings.state_dir / "objects"


@pytest.fixture(params=["folder", "bucket"])
def store(request) -> ObjectStore:
    """Either kind of store: what a test proves of one, it proves of the other."""
    kind = {"folder": "folder_settings", "bucket": "s3_settings"}[request.param]
    return ObjectStore.from_settings(request.getfixturevalue(kind))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("a full disk needs a file system of its own, which only root can mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a full disk needs a file system of its own: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
