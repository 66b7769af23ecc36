"""Orthanc forwards: by its REST API, and by the script of examples/orthanc as it receives."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.faults.servers import until
from tests.peers.conftest import MakeAdapter
from tests.peers.objects import corpus, write_object
from tests.peers.orthanc import EXAMPLE, MODALITY, Orthanc
from tests.peers.ward import HOST, TITLE, Adapter, Ward

pytestmark = pytest.mark.usefixtures("orthanc")

MakeOrthanc = Callable[..., Orthanc]
SECONDS = 60.0
FEW = 12


def test_what_it_holds_is_stored_by_one_request(adapter: Adapter, ward: Ward, make_orthanc: MakeOrthanc) -> None:
    """Orthanc holds one object of each SOP Instance UID; permissive, it goes on after one that is refused.

    Its answer then counts no failures, so what was refused is read from the adapter's log.
    """
    orthanc = make_orthanc(adapter, DicomAet="ORTHANC-A")
    assert orthanc.echo().ok
    for path in corpus():
        orthanc.upload(path)
    held = orthanc.instances()
    assert len(held) > 100
    assert orthanc.store(*held, permissive=True).json()["InstancesCount"] == len(held)
    lines = [json.loads(line) for line in adapter.log.splitlines() if "object refused" in line]
    refused = [line["status"] for line in lines if line["peer"] == "ORTHANC-A"]
    images = ward.images_of("ORTHANC-A")
    assert refused == ["0xA900"] * 2, "two files whose meta information names another class"
    assert len(images) == len(held) - len(refused)
    ward.assert_each_has_one_row(images)


def test_many_at_once(adapter: Adapter, ward: Ward, make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    orthanc = make_orthanc(adapter, DicomAet="ORTHANC-B")
    uids = [write_object(tmp_path / f"{number}.dcm") for number in range(FEW)]
    ids = [orthanc.upload(tmp_path / f"{number}.dcm") for number in range(FEW)]
    answer = orthanc.store(*map(str, ids))
    assert (answer.json()["InstancesCount"], answer.json()["FailedInstancesCount"]) == (FEW, 0)
    images = ward.images_of("ORTHANC-B")
    assert Counter(event.sop_instance_uid for event in images) == Counter(map(ward.pseudonym, uids))
    ward.assert_each_has_one_row(images)


def test_it_forwards_as_it_receives(adapter: Adapter, ward: Ward, make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    script = EXAMPLE / "forward.lua"
    orthanc = make_orthanc(adapter, DicomAet="ORTHANC-C", LuaScripts=[str(script)])
    uids = {ward.pseudonym(write_object(tmp_path / f"{number}.dcm")) for number in range(FEW)}
    for number in range(FEW):
        orthanc.upload(tmp_path / f"{number}.dcm")
    until(lambda: {event.sop_instance_uid for event in ward.images_of("ORTHANC-C")} >= uids, SECONDS, "forwarding")
    images = ward.images_of("ORTHANC-C")
    assert len(images) == FEW
    ward.assert_each_has_one_row(images)


def test_it_speaks_mutual_tls(make_adapter: MakeAdapter, ward: Ward, make_orthanc: MakeOrthanc, tmp_path: Path) -> None:
    hospital, elsewhere = Authority(tmp_path, "hospital"), Authority(tmp_path, "elsewhere")
    certificate, key = hospital.issue("adapter")
    write_object(tmp_path / "image.dcm")

    def configured(pair: tuple[Path, Path], port: int) -> dict[str, object]:
        return {
            "DicomTlsCertificate": str(pair[0]),
            "DicomTlsPrivateKey": str(pair[1]),
            "DicomTlsTrustedCertificates": str(hospital.path),
            "DicomModalities": {MODALITY: {"AET": TITLE, "Host": HOST, "Port": port, "UseDicomTls": True}},
            "DicomAet": "ORTHANC-TLS",
        }

    with make_adapter(
        dicom_tls_certificate=str(certificate), dicom_tls_key=str(key), dicom_tls_ca=str(hospital.path)
    ) as adapter:
        known = make_orthanc(adapter, **configured(hospital.issue("orthanc"), adapter.port))
        assert known.echo().ok
        assert known.store(str(known.upload(tmp_path / "image.dcm"))).ok
        stranger = make_orthanc(adapter, **configured(elsewhere.issue("stranger"), adapter.port))
        plain = make_orthanc(adapter)
        for orthanc in (stranger, plain):
            assert not orthanc.store(str(orthanc.upload(tmp_path / "image.dcm"))).ok
    assert len(ward.images_of("ORTHANC-TLS")) == 1
