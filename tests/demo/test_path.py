"""The main job: from a DICOM device to a row in PostgreSQL, every process and server real."""

import os
import threading
from collections import Counter

import cv2
import pytest

from producers.device import Device
from producers.statuses import StoreStatus
from radiolog.demo.report import balanced, counts
from radiolog.demo.run import Demo
from radiolog.demo.samples import samples
from radiolog.services import services
from radiolog.supervisor import Supervisor
from tests.sites import environment_of


@pytest.mark.timeout(240)
def test_from_a_device_to_rows(site, free_port, tmp_path):
    device = Device("127.0.0.1", free_port, "TEST-CR", site.dicom_ae_title)
    with Supervisor(services(site, environment_of(site, dicom_port=free_port))) as supervisor:
        supervisor.start(threading.Event())
        assert device.echo() is StoreStatus.SUCCESS
        first, second = (Demo(site, list(samples(tmp_path)), ignore).run(device, tmp_path) for _ in range(2))
        pids = supervisor.pids()

    ends = {way.sample.path.name: way for way in first}
    assert balanced(counts(first))
    assert counts(first) == Counter(sent=12) + Counter({"rows": 10, "dead letters": 1, "refused": 1})
    chest = [ends[f"RG1_{kind}.dcm"].diagnosis for kind in ("UNCR", "J2KR", "UNCI", "J2KI")]
    assert len({row.event_id for row in chest}) == 4
    for one, other in (chest[:2], chest[2:]):
        assert one.status == other.status
        assert one.scope_distance == pytest.approx(other.scope_distance, abs=1e-6)
        if one.status == "DIAGNOSED":
            assert one.findings[0].name == "pneumonia"
            for mine, others in zip(one.findings, other.findings, strict=True):
                assert mine.probability == pytest.approx(others.probability, abs=1e-6)
    for name in ("RG3_UNCR.dcm", "CT_small.dcm", "MR_small.dcm", "US1_UNCR.dcm"):
        assert ends[name].diagnosis.status == "OUT_OF_SCOPE", name
    for name in ("reportsi.dcm", "waveform_ecg.dcm"):
        assert ends[name].diagnosis.status == "NOT_AN_IMAGE", name
    assert "expected" in ends["half.dcm"].dead_letter.reason
    assert "not DICOM" in ends["random.dcm"].sent.comment

    pictures = [way.picture for way in first if way.picture is not None]
    assert len(pictures) == 8
    assert all(cv2.imread(str(picture)).shape[2] == 3 for picture in pictures)

    again = {way.sample.path.name: way for way in second}
    assert {name: way.diagnosis and way.diagnosis.event_id for name, way in again.items()} == {
        name: way.diagnosis and way.diagnosis.event_id for name, way in ends.items()
    }
    assert {way.diagnosis.stored_at for way in second if way.diagnosis} == {
        way.diagnosis.stored_at for way in first if way.diagnosis
    }
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def ignore(ways) -> None:
    """Shows nothing."""
