"""Files and folders onto a real log, by the commands that people run."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from radiolog.log.replay import pin, read
from schemas.topics import IDENTITIES, IMAGES
from tests.sites import environment_of

CT = Path(get_testdata_file("CT_small.dcm", download=False))
MR = Path(get_testdata_file("MR_small.dcm", download=False))


@pytest.fixture
def environment(site):
    """The environment of a command on the test's site."""
    return os.environ | environment_of(site, folder_poll_seconds=0.1)


def test_publish(site, site_codec, environment, tmp_path):
    shutil.copy(CT, tmp_path / "one.dcm")
    (tmp_path / "broken.dcm").write_bytes(b"no dicom")
    command = [sys.executable, "-m", "radiolog", "publish", str(tmp_path), str(MR), "--json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1, "one was refused"
    answers = {Path(answer["path"]).name: answer for answer in json.loads(result.stdout)}
    assert answers["broken.dcm"]["event_id"] is None
    assert answers["broken.dcm"]["reason"]
    on_log = {str(item.event.event_id) for item in read(site, site_codec, pin(site, IMAGES))}
    assert on_log == {answers["one.dcm"]["event_id"], answers["MR_small.dcm"]["event_id"]}
    assert list(read(site, site_codec, pin(site, IDENTITIES)))


def test_a_folder(site, site_codec, environment, tmp_path):
    command = [sys.executable, "-m", "radiolog", "adapter", "folder", str(tmp_path)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as adapter:
        shutil.copy(CT, tmp_path / "scan.dcm")
        (tmp_path / "broken.dcm").write_bytes(b"no dicom")
        poll = threading.Event()
        for _ in range(300):
            if [*tmp_path.glob("done/*/scan.dcm")] and [*tmp_path.glob("rejected/*/broken.dcm")]:
                break
            poll.wait(0.1)
        adapter.terminate()
        assert adapter.wait(30) == 0
    (done,), (reason,) = tmp_path.glob("done/*/scan.dcm"), tmp_path.glob("rejected/*/broken.dcm.reason.txt")
    assert done.read_bytes() == CT.read_bytes()
    assert reason.read_text().strip()
    assert len(list(read(site, site_codec, pin(site, IMAGES)))) == 1
