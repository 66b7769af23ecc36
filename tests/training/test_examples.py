"""Examples of a manifest: the same bytes whenever they are made, checked when they are opened, never all in memory."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import World
from tests.training.sets import CODES, PLAN, decode, imported, labelled, log_of
from training.examples import SliceChanged, examples_of, file_name
from training.inputs import Job, run
from training.manifest import Manifest
from training.pixel_file import PixelFileError, sha256, verified, writing
from training.replay import replay
from training.split import Split

ROOT = Path(__file__).parents[2]


@pytest.fixture
def manifest(twin) -> Manifest:
    with twin.publisher() as publisher:
        findings = [{"viral_pneumonia": True}, {"pneumonia": False}, {"pneumonia": True}]
        imported(twin, publisher, [labelled(number, **findings[number % 3]) for number in range(24)])
    return replay(log_of(twin), PLAN, decode)


def test_inputs_and_labels_stand_in_the_order_of_the_manifest(manifest: Manifest, twin, tmp_path) -> None:
    found = examples_of(manifest, tmp_path, log_of(twin), decode)
    assert list(found) == list(Split)
    for part, examples in found.items():
        images = manifest.of(part)
        assert isinstance(examples.pixels, np.memmap)
        assert examples.pixels.shape == (len(images), 48, 48)
        assert examples.labels.dtype == np.float32
        assert [sha256(pixels) for pixels in examples.pixels] == [image.input_sha256 for image in images]
        for row, image in zip(examples.labels, images, strict=True):
            expected = [image.labels.get(CODES[name], np.nan) for name in ("pneumonia", "viral pneumonia")]
            np.testing.assert_array_equal(row, expected)
    assert np.isnan(found[Split.TRAIN].labels).any()


def test_another_day_gives_the_same_bytes(manifest: Manifest, twin, tmp_path) -> None:
    path = tmp_path / file_name(manifest)
    examples_of(manifest, tmp_path, log_of(twin), decode)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    with twin.publisher() as publisher:  # the log goes on
        imported(twin, publisher, [labelled(number) for number in range(24, 30)])
    batches = examples_of(manifest, tmp_path, log_of(twin), decode)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert [file.name for file in tmp_path.glob("*inputs-*")] == [path.name]
    assert len(batches[Split.TRAIN]) == len(manifest.of(Split.TRAIN))


def test_a_file_that_is_there_needs_no_log(manifest: Manifest, twin, tmp_path) -> None:
    with pytest.raises(PixelFileError, match="cannot be read"):
        examples_of(manifest, tmp_path, None, decode)
    examples_of(manifest, tmp_path, log_of(twin), decode)
    assert len(examples_of(manifest, tmp_path, None, decode)[Split.TRAIN]) == len(manifest.of(Split.TRAIN))


def test_an_altered_file_is_made_again(manifest: Manifest, twin, tmp_path) -> None:
    examples_of(manifest, tmp_path, log_of(twin), decode)
    path = tmp_path / file_name(manifest)
    whole = path.read_bytes()
    for altered in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-5], b"", b"\x93NUMPY\x01\x00"):
        path.write_bytes(altered)
        with pytest.raises(PixelFileError):
            examples_of(manifest, tmp_path, None, decode)
        examples_of(manifest, tmp_path, log_of(twin), decode)
        assert path.read_bytes() == whole


def test_other_pixels_than_the_manifest_says_are_never_used(manifest: Manifest, twin, tmp_path) -> None:
    def changed(jobs: list[Job]) -> list[np.ndarray]:
        return [run(job) + np.uint8(1) for job in jobs]

    with pytest.raises(SliceChanged, match="make a new manifest"):
        examples_of(manifest, tmp_path, log_of(twin), changed)
    assert not list(tmp_path.glob("*inputs-*"))


def test_what_is_gone_from_the_log_is_counted(manifest: Manifest, twin, tmp_path) -> None:
    first = manifest.inputs[0]
    twin.clients.delete_before(("t.images", first.partition), first.offset + 1)
    with pytest.raises(SliceChanged, match="of 24 images of the manifest cannot be had"):
        examples_of(manifest, tmp_path, log_of(twin), decode)


def test_a_manifest_of_another_log_is_refused(manifest: Manifest, twin: World, tmp_path) -> None:
    elsewhere = dataclasses.replace(twin, settings=twin.settings.model_copy(update={"topic_prefix": "other."}))
    with pytest.raises(SliceChanged, match=r"t\.images"):
        examples_of(manifest, tmp_path, log_of(elsewhere), decode)


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path) -> None:
    def half() -> None:
        with writing(tmp_path / "a.npy", (2, 4, 4)) as file:
            file.write(0, np.zeros((4, 4), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert not list(tmp_path.iterdir())


def test_rows_may_come_in_any_order(tmp_path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (5, 4, 4), np.uint8)
    with writing(tmp_path / "a.npy", rows.shape) as file:
        for row in (3, 0, 4, 2, 1):
            file.write(row, rows[row])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)
    np.testing.assert_array_equal(verified(tmp_path / "a.npy", [sha256(row) for row in rows], 4), rows)


def test_the_set_need_not_fit_in_memory(tmp_path) -> None:
    """256 MB are written, checked and read in batches within 96 MB of a process's own memory."""
    program = f"""
import resource, numpy as np
from pathlib import Path
from training.pixel_file import sha256, verified, writing
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
row, path, count = np.arange(512 * 512, dtype=np.uint8).reshape(512, 512), Path({str(tmp_path)!r}) / "a.npy", 1000
with writing(path, (count, 512, 512)) as file:
    for number in range(count):
        file.write(number, row + np.uint8(number % 256))
sums = [sha256(row + np.uint8(number)) for number in range(256)]
pixels = verified(path, [sums[number % 256] for number in range(count)], 512)
assert int(pixels[np.array([5, 900])].sum(dtype=np.int64)) > 0
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 96
