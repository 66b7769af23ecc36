"""DCMTK sends: what it is told was stored is on the log, and in PostgreSQL once."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from producers import part10
from tests.certificates import Authority
from tests.faults.servers import until
from tests.peers import dcmtk as tools
from tests.peers.conftest import MakeAdapter
from tests.peers.objects import corpus, write_object
from tests.peers.ward import Adapter, Ward

pytestmark = pytest.mark.usefixtures("dcmtk")

#: Files in which DCMTK finds no object to send, or that it finds broken when it sends them.
NOT_SENT = {
    "ExplVR_BigEndNoMeta.dcm",
    "ExplVR_LitEndNoMeta.dcm",
    "MR_truncated.dcm",
    "OT-PAL-8-face.dcm",
    "README",
    "SC_rgb_jpeg.dcm",
    "UN_sequence.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm",
    "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
    "rtplan_truncated.dcm",
    "rtstruct.dcm",
}
#: Without a Study Instance UID.
CANNOT_UNDERSTAND = {
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
}
#: Their file meta information, by which DCMTK announces them, names another SOP class than the data set.
MISMATCH = {"explicit_VR-UN.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"}

IMPLICIT, EXPLICIT, BIG, DEFLATED = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)
#: Among these DCMTK takes the first that the peer accepts.
UNCOMPRESSED = {IMPLICIT, EXPLICIT, BIG}
#: Every way in which storescu proposes transfer syntaxes: the object's syntax, and the one that it must come in.
PROPOSALS = {
    "--propose-uncompr": (EXPLICIT, EXPLICIT),
    "--propose-little": (EXPLICIT, EXPLICIT),
    "--propose-big": (BIG, BIG),
    "--propose-implicit": (EXPLICIT, IMPLICIT),
    "--propose-deflated": (DEFLATED, DEFLATED),
    "--propose-jpeg8": ("1.2.840.10008.1.2.4.50",) * 2,
    "--propose-jpeg12": ("1.2.840.10008.1.2.4.51",) * 2,
    "--propose-lossless": ("1.2.840.10008.1.2.4.70",) * 2,
    "--propose-jls-lossless": ("1.2.840.10008.1.2.4.80",) * 2,
    "--propose-jls-lossy": ("1.2.840.10008.1.2.4.81",) * 2,
    "--propose-j2k-lossless": ("1.2.840.10008.1.2.4.90",) * 2,
    "--propose-j2k-lossy": ("1.2.840.10008.1.2.4.91",) * 2,
    "--propose-mpeg2": ("1.2.840.10008.1.2.4.100",) * 2,
    "--propose-mpeg2-high": ("1.2.840.10008.1.2.4.101",) * 2,
    "--propose-mpeg4": ("1.2.840.10008.1.2.4.102",) * 2,
    "--propose-mpeg4-bd": ("1.2.840.10008.1.2.4.103",) * 2,
    "--propose-mpeg4-2-2d": ("1.2.840.10008.1.2.4.104",) * 2,
    "--propose-mpeg4-2-3d": ("1.2.840.10008.1.2.4.105",) * 2,
    "--propose-mpeg4-2-st": ("1.2.840.10008.1.2.4.106",) * 2,
    "--propose-hevc": ("1.2.840.10008.1.2.4.107",) * 2,
    "--propose-hevc10": ("1.2.840.10008.1.2.4.108",) * 2,
    "--propose-rle": ("1.2.840.10008.1.2.5",) * 2,
}


def test_echo(adapter: Adapter) -> None:
    assert tools.call("echoscu", adapter).code == 0


def test_every_file_in_its_own_transfer_syntax(adapter: Adapter, ward: Ward, tmp_path: Path) -> None:
    files = {path.name: path for path in corpus()}
    options = ("--no-halt", "--decompress-never", "--create-report-file", str(tmp_path / "report"))
    tools.call("dcmsend", adapter, *options, *files.values(), calling="CORPUS")
    sent = {entry.file: entry for entry in tools.report(tmp_path / "report")}
    wrong = dict.fromkeys(CANNOT_UNDERSTAND, 0xC000) | dict.fromkeys(MISMATCH, 0xA900)
    assert {name for name in files if name not in sent or sent[name].status is None} == NOT_SENT
    stored = {name: entry for name, entry in sent.items() if name not in NOT_SENT | wrong.keys()}
    assert {name: entry.status for name, entry in sent.items() if name in wrong} == wrong
    assert {entry.status for entry in stored.values()} == {0x0000}

    images = ward.images_of("CORPUS")
    on_log = Counter((event.sop_instance_uid, event.transfer_syntax_uid) for event in images)
    expected = {name: (ward.pseudonym(_instance(files[name])), _as_stored(entry)) for name, entry in stored.items()}
    assert on_log == Counter(expected.values())
    compressed = {
        name for name in stored if (syntax := _syntax(files[name])) and syntax.startswith("1.2.840.10008.1.2.4")
    }
    assert len(compressed) >= 40
    assert {stored[name].syntax for name in compressed} == {_syntax(files[name]) for name in compressed}
    ward.assert_each_has_one_row(images)


def _syntax(path: Path) -> str:
    return part10.parse(path.read_bytes()).transfer_syntax


def _instance(path: Path) -> str:
    """As the data set says; in some files DCMTK announces another one, from the file meta information."""
    return str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def _as_stored(entry: tools.Sent) -> str | None:
    """The log holds a deflated object inflated."""
    return EXPLICIT if entry.syntax == DEFLATED else entry.syntax


def test_every_transfer_syntax_that_storescu_proposes(adapter: Adapter, ward: Ward, tmp_path: Path) -> None:
    expected, codes = {}, {}
    for number, (option, (own, network)) in enumerate(PROPOSALS.items()):
        path = tmp_path / f"{number}.dcm"
        expected[ward.pseudonym(write_object(path, own))] = EXPLICIT if network == DEFLATED else network
        codes[option] = tools.call("storescu", adapter, option, path, calling="SYNTAXES").code
    assert codes == dict.fromkeys(PROPOSALS, 0)
    images = ward.images_of("SYNTAXES")
    assert {event.sop_instance_uid: event.transfer_syntax_uid for event in images} == expected
    assert len(images) == len(PROPOSALS)
    ward.assert_each_has_one_row(images)


def test_what_is_sent_again_has_one_row(adapter: Adapter, ward: Ward, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    for path in paths:
        write_object(path)
    for _ in range(2):
        assert tools.call("storescu", adapter, *paths, calling="AGAIN").code == 0
    records = Counter(event.event_id for event in ward.images_of("AGAIN"))
    assert list(records.values()) == [2, 2, 2]
    ward.assert_each_has_one_row(ward.images_of("AGAIN"))


@pytest.mark.parametrize("tool", ["echoscu", "storescu"])
def test_a_wrong_called_ae_title_is_rejected_with_the_reason(
    tool: str, adapter: Adapter, sample: Callable[[str], Path]
) -> None:
    files = [sample("CT_small.dcm")] if tool == "storescu" else []
    said = tools.call(tool, adapter, *files, called="SOMEONE")
    assert said.code != 0
    assert "Result: Rejected Permanent, Source: Service User" in said.text
    assert "Reason: Called AE Title Not Recognized" in said.text


def test_a_caller_that_is_not_allowed_is_rejected_with_the_reason(
    make_adapter: MakeAdapter, ward: Ward, sample: Callable[[str], Path]
) -> None:
    file = sample("CT_small.dcm")
    with make_adapter(dicom_allowed_callers="CT_1,MR_1") as adapter:
        said = tools.call("storescu", adapter, file, calling="STRANGER")
        assert said.code != 0
        assert "Result: Rejected Permanent, Source: Service User" in said.text
        assert "Reason: Calling AE Title Not Recognized" in said.text
        assert tools.call("storescu", adapter, file, calling="MR_1").code == 0
    assert not ward.images_of("STRANGER")
    assert len(ward.images_of("MR_1")) == 1


def test_mutual_tls(make_adapter: MakeAdapter, ward: Ward, sample: Callable[[str], Path], tmp_path: Path) -> None:
    hospital, elsewhere = Authority(tmp_path, "hospital"), Authority(tmp_path, "elsewhere")
    file = sample("CT_small.dcm")
    certificate, key = hospital.issue("adapter")
    own, private = hospital.issue("ct")
    strange, strange_key = elsewhere.issue("stranger")
    authority = ("--add-cert-file", str(hospital.path))
    with make_adapter(
        dicom_tls_certificate=str(certificate), dicom_tls_key=str(key), dicom_tls_ca=str(hospital.path)
    ) as adapter:
        for refused in (
            (),
            ("--anonymous-tls", *authority),
            ("--enable-tls", str(strange_key), str(strange), *authority),
        ):
            for tool, files in (("echoscu", []), ("storescu", [file])):
                said = tools.call(tool, adapter, *refused, *files, calling="TLS")
                assert said.code != 0, f"{tool} {refused}"
                assert "Association Request Failed" in said.text
        known = ("--enable-tls", str(private), str(own), *authority)
        assert tools.call("echoscu", adapter, *known, calling="TLS").code == 0
        assert tools.call("storescu", adapter, *known, file, calling="TLS").code == 0
        assert "connection refused" in adapter.log
    assert len(ward.images_of("TLS")) == 1


def test_an_aborted_association_takes_nothing_back(adapter: Adapter, ward: Ward, tmp_path: Path) -> None:
    uids = [write_object(tmp_path / f"{number}.dcm") for number in range(3)]
    said = tools.call("storescu", adapter, "--abort", *sorted(tmp_path.iterdir()), calling="ABORT")
    assert said.text.count("Received Store Response (Success)") == 3
    assert "Aborting Association" in said.text
    images = ward.images_of("ABORT")
    assert Counter(event.sop_instance_uid for event in images) == Counter(map(ward.pseudonym, uids))
    ward.assert_each_has_one_row(images)


def test_a_killed_dcmsend_and_the_next_one(adapter: Adapter, ward: Ward, tmp_path: Path) -> None:
    """Killed in the middle of its work, and of an object."""
    uids = {ward.pseudonym(write_object(tmp_path / f"{number:02}.dcm", edge=512)) for number in range(20)}
    files = sorted(tmp_path.iterdir())
    told = 0
    with tools.begin("dcmsend", adapter, *files, calling="KILLED") as process:
        assert process.stdout is not None
        for line in process.stdout:
            told += b"Received C-STORE Response (Success)" in line
            if told >= 5 and b"Sending C-STORE Request" in line:
                process.kill()
                break
        told += process.stdout.read().count(b"Received C-STORE Response (Success)")
    assert 5 <= told < 20
    assert told <= len({event.event_id for event in ward.images_of("KILLED")}) <= told + 1
    assert tools.call("dcmsend", adapter, *files, calling="KILLED").code == 0
    images = ward.images_of("KILLED")
    assert {event.sop_instance_uid for event in images} == uids
    assert 20 + told <= len(images) <= 20 + told + 1
    ward.assert_each_has_one_row(images)
    assert tools.call("echoscu", adapter).code == 0


def test_a_refused_object_does_not_hold_up_the_others(adapter: Adapter, ward: Ward, tmp_path: Path) -> None:
    good, broken = tmp_path / "1.dcm", tmp_path / "0.dcm"
    write_object(good)
    write_object(broken)
    broken.write_bytes(re.sub(rb"\x20\x00\x0d\x00UI", b"\x20\x00\x0c\x00UI", broken.read_bytes()))  # no study
    said = tools.call("storescu", adapter, "--no-halt", broken, good, calling="MIXED")
    assert "Received Store Response (Error: CannotUnderstand)" in said.text
    assert "Received Store Response (Success)" in said.text
    until(lambda: len(ward.images_of("MIXED")) == 1, 10)
    assert "StudyInstanceUID (0020,000D) is missing" in adapter.log
