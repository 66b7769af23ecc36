"""What networks are fitted to, from an archive or from the log, and the lineage that a bundle will bear."""

import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from radiolog.cli import app
from radiolog.cli.manifest import load_examples
from tests.training.sets import CODES, PLAN, SPEC, decode, imported, labelled, log_of
from tests.training.test_train import write_config
from training.archive import ArchiveError
from training.config import ConfigError, FindingConfig, TrainingConfig, load_config
from training.data import from_archive, from_manifest
from training.examples import examples_of, file_name
from training.manifest import Manifest
from training.replay import replay
from training.split import Split

QUIET = Console(quiet=True)
MakeArchive = Callable[..., Path]


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return load_config(write_config(tmp_path, epochs=1))


@pytest.fixture
def manifest(twin) -> Manifest:
    """Twenty-four images of twelve patients on the log."""
    with twin.publisher() as publisher:
        findings = [{"viral_pneumonia": True}, {"pneumonia": False}, {"pneumonia": True}]
        imported(twin, publisher, [labelled(number, **findings[number % 3]) for number in range(24)])
    return replay(log_of(twin), PLAN, decode)


@pytest.fixture
def of_log(config: TrainingConfig) -> TrainingConfig:
    """A configuration of the same findings and pixels as the manifest."""
    findings = tuple(FindingConfig(code=code, name=name) for name, code in CODES.items())
    return replace(config, findings=findings, spec=SPEC)


def test_an_archive_is_shared_out_by_patient(make_archive: MakeArchive, make_masks, config: TrainingConfig) -> None:
    path = make_archive(images=40, patients=20)
    data = from_archive(path, make_masks(path), config, QUIET)
    lineage = data.lineage
    assert data.lungs is not None
    assert {part: len(examples) for part, examples in data.examples.items()} == {
        Split(part): count for part, count in lineage["images"].items()
    }
    assert sum(lineage["images"].values()) == 40
    assert sum(lineage["patients"].values()) == 20, "no patient is in two splits"
    assert lineage["masks"] == {str(part): len(columns) for part, columns in data.lungs.items()}
    assert sum(lineage["masks"].values()) == 30
    assert (lineage["archive"], lineage["lung_masks"], lineage["seed"]) == (path.name, "masks.zip", config.seed)
    columns = data.lungs[Split.TRAIN].arrays
    assert columns["images"].shape == columns["masks"].shape
    assert all(
        (image[mask > 250].mean() < image[mask < 5].mean()) for image, mask in zip(*columns.values(), strict=True)
    )


def test_without_masks_there_are_none(make_archive: MakeArchive, config: TrainingConfig) -> None:
    data = from_archive(make_archive(images=24, patients=12), None, config, QUIET)
    assert data.lungs is None
    assert "masks" not in data.lineage


def test_masks_of_other_images_are_refused(make_archive: MakeArchive, config: TrainingConfig, tmp_path: Path) -> None:
    path = tmp_path / "others.zip"
    with zipfile.ZipFile(path, "w") as masks:
        masks.writestr("index.csv", "image,mask\nsomebody/else.png,a.png\n")
    with pytest.raises(ArchiveError, match=r"others\.zip holds no mask of an image in images\.zip that is for train"):
        from_archive(make_archive(images=24, patients=12), path, config, QUIET)


def test_a_manifest_is_taken_as_it_is(manifest: Manifest, of_log: TrainingConfig, twin, tmp_path: Path) -> None:
    examples = examples_of(manifest, tmp_path, log_of(twin), decode)
    data = from_manifest(manifest, examples, of_log)
    assert (data.examples, data.lungs) == (examples, None)
    assert data.lineage["manifest_sha256"] == manifest.sha256
    assert sum(data.lineage["images"].values()) == 24
    assert sum(data.lineage["patients"].values()) == 12
    assert data.lineage["shares"] == {str(part): share for part, share in PLAN.shares.items()}
    assert data.lineage["seed"] == PLAN.seed


def test_a_manifest_of_other_findings_or_pixels_is_refused(
    manifest: Manifest, of_log: TrainingConfig, config: TrainingConfig
) -> None:
    for other in (
        replace(of_log, findings=of_log.findings[::-1]),
        replace(of_log, findings=of_log.findings[:1]),
        replace(of_log, spec=config.spec),
    ):
        with pytest.raises(ConfigError, match=r"findings pneumonia, viral pneumonia, .* `radiolog replay --config`"):
            from_manifest(manifest, {}, other)


def test_the_log_is_asked_only_where_the_file_is_not_there(
    manifest: Manifest, twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextmanager
    def log_and_decoders():
        asked.append(1)
        yield log_of(twin), decode

    monkeypatch.setattr("radiolog.cli.manifest.log_and_decoders", log_and_decoders)
    manifest.save(tmp_path / "m.json")
    pixels = []
    for times in (1, 1):
        loaded, examples = load_examples(tmp_path / "m.json", silent=True)
        assert (loaded.sha256, len(asked)) == (manifest.sha256, times)
        pixels.append(np.array(examples[Split.TRAIN].pixels))
    np.testing.assert_array_equal(*pixels)
    (tmp_path / file_name(manifest)).write_bytes(b"damaged")
    load_examples(tmp_path / "m.json", silent=True)
    assert len(asked) == 2


def test_the_command_trains_on_a_manifest(
    manifest: Manifest, of_log: TrainingConfig, twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    class Written:
        id, sha256, metrics = "tiny@1", "00", {}

    def train(config, data, out, **options):
        called.append((config, data, out))
        return Written()

    monkeypatch.setattr("training.train.train", train)
    monkeypatch.setattr("training.config.load_config", lambda path: of_log)
    manifest.save(tmp_path / "m.json")
    examples_of(manifest, tmp_path, log_of(twin), decode)
    words = ["train", tmp_path / "tiny.py", "--manifest", tmp_path / "m.json", "--out", tmp_path / "bundle"]
    ran = CliRunner().invoke(app, list(map(str, words)))
    assert ran.exit_code == 0, ran.output
    ((config, data, out),) = called
    assert (config, out) == (of_log, tmp_path / "bundle")
    assert data.lineage["manifest_sha256"] == manifest.sha256
    masks = CliRunner().invoke(app, [*map(str, words), "--lung-masks", str(tmp_path / "m.json")])
    assert masks.exit_code == 2
    assert "--lung-masks" in masks.output
