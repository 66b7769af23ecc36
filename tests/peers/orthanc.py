"""An Orthanc of one test's own, which forwards to the adapter.

It listens for HTTP on a port that it binds to all interfaces, as version 1.10 knows no other way; so it takes requests
of this machine alone (RemoteAccessAllowed), with a password made for it, and its DICOM server is off. Even so it runs
only where RADIOLOG_TEST_ORTHANC=1 says that it may.
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults.servers import until
from tests.peers.ward import HOST, TITLE

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "orthanc"
MODALITY = "radiolog"
SECONDS = 60.0


def may_run() -> bool:
    return shutil.which("Orthanc") is not None and os.environ.get("RADIOLOG_TEST_ORTHANC") == "1"


def require() -> None:
    if not may_run():
        pytest.skip("Orthanc is not installed, or RADIOLOG_TEST_ORTHANC is not 1")


class Orthanc:
    """Runs the configuration of examples/orthanc, with `changes`, on a folder of its own."""

    def __init__(self, folder: Path, dicom_port: int, port: int, changes: Mapping[str, object]) -> None:
        folder.mkdir()
        password = secrets.token_hex(16)
        configuration = json.loads((EXAMPLE / "orthanc.json").read_text()) | {
            "StorageDirectory": str(folder),
            "IndexDirectory": str(folder),
            "DicomServerEnabled": False,
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"test": password},
            "DicomModalities": {MODALITY: {"AET": TITLE, "Host": HOST, "Port": dicom_port}},
            "LuaScripts": [],
            **changes,
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self.log_file = folder / "orthanc.log"
        with self.log_file.open("wb") as output:
            command = ["Orthanc", "--verbose", str(folder / "orthanc.json")]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        self._url = f"http://{HOST}:{port}"
        self._session = requests.Session()
        self._session.auth = ("test", password)
        self._session.trust_env = False
        until(self._answers, SECONDS, "Orthanc answers")

    def upload(self, path: Path) -> str | None:
        """Puts a file into Orthanc; its id there, or None if Orthanc does not take it."""
        answer = self._post("/instances", data=path.read_bytes())
        return answer.json()["ID"] if answer.ok else None

    def store(self, *ids: str, permissive: bool = False) -> requests.Response:
        """Sends instances to the adapter, and waits for the end of it; permissive, also after one that fails."""
        body = {"Resources": ids, "Synchronous": True, "Permissive": permissive}
        return self._post(f"/modalities/{MODALITY}/store", json=body)

    def echo(self) -> requests.Response:
        return self._post(f"/modalities/{MODALITY}/echo", json={})

    def instances(self) -> dict[str, str]:
        """What Orthanc holds: its ids, and the SOP Instance UIDs."""
        found = self._get("/instances?expand").json()
        return {instance["ID"]: instance["MainDicomTags"]["SOPInstanceUID"] for instance in found}

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def close(self) -> None:
        self._session.close()
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _get(self, path: str) -> requests.Response:
        return self._session.get(self._url + path, timeout=SECONDS)

    def _post(self, path: str, **body: Any) -> requests.Response:
        return self._session.post(self._url + path, timeout=SECONDS, **body)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log()[-2000:]
        try:
            return self._get("/system").ok
        except requests.ConnectionError:
            return False
