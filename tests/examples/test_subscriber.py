"""The example as its readers run it: a process of its own, against the real servers."""

import ast
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from radiolog.log.publisher import Fact, KafkaPublisher
from schemas.events import (
    Decision,
    Diagnosis,
    DiagnosisStatus,
    EventRef,
    ExplanationMap,
    Finding,
    Severity,
    derived_id,
    image_event_id,
)
from schemas.topics import DIAGNOSES
from tests.sites import environment_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "subscriber.py"
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PNEUMONIA = Finding(
    code="233604007",
    name="pneumonia",
    probability=0.75,
    threshold=0.5,
    decision=Decision.PRESENT,
    severity=Severity.MILD,
    area_share=0.1,
    explanation=ExplanationMap(height=1, width=2, values=b"\x00\xff"),
)


def diagnosis(number: int, status: DiagnosisStatus, *findings: Finding) -> Diagnosis:
    image = EventRef(event_id=image_event_id(number.to_bytes(32, "big")), topic="images", partition=0, offset=number)
    return Diagnosis(
        event_id=derived_id("diagnosis", str(number)),
        code_version="test",
        image=image,
        source=image,
        patient_pseudonym="P-1",
        study_uid="2.25.1",
        series_uid="2.25.2",
        sop_instance_uid=f"2.25.3.{number}",
        status=status,
        findings=findings,
        model_name="m",
        model_version="1",
        model_sha256="0" * 64,
        operating_point="accuracy",
        spec_sha256="1" * 64,
        received_at=THEN,
        published_at=THEN,
        preprocessed_at=THEN,
        diagnosed_at=THEN,
    )


class Subscriber:
    """The example, running; its lines are waited for, not slept for."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, EXAMPLE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self) -> dict[str, object]:
        return json.loads(self._lines.get(timeout=60))

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; gives the exit code, and what was written to standard error."""
        assert self.process.stderr is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30), self.process.stderr.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._reader.join()
        self.process.__exit__(None, None, None)


@pytest.fixture
def subscriber(site) -> Iterator[Subscriber]:
    subscriber = Subscriber(os.environ | environment_of(site))
    yield subscriber
    subscriber.close()


def test_it_prints_what_is_diagnosed_and_ends_on_ctrl_c(site, site_codec, subscriber):
    diagnosed = diagnosis(1, DiagnosisStatus.DIAGNOSED, PNEUMONIA)
    refused = diagnosis(2, DiagnosisStatus.OUT_OF_SCOPE)
    with KafkaPublisher(site, site_codec) as publisher:
        publisher.publish([Fact(DIAGNOSES, diagnosed), Fact(DIAGNOSES, refused)])
    finding = {"name": "pneumonia", "decision": "PRESENT", "probability": 0.75, "severity": "MILD"}
    assert subscriber.line() == {
        "image": str(diagnosed.image.event_id),
        "status": "DIAGNOSED",
        "findings": [finding],
    }
    assert subscriber.line() == {"image": str(refused.image.event_id), "status": "OUT_OF_SCOPE", "findings": []}
    assert subscriber.interrupt() == (0, "")


def test_it_fits_on_a_page():
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_it_needs_nothing_of_ours():
    ours = {"radiolog", "schemas", "producers", "stream_processors", "models", "sinks", "training"}
    tree = ast.walk(ast.parse(EXAMPLE.read_text()))
    imported = {
        name.partition(".")[0]
        for node in tree
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert "confluent_kafka" in imported
    assert not imported & ours
