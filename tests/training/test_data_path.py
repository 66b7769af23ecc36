"""From an archive onto the log and back as a data set, by the commands, on the real servers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.topics import IMAGES, LABELS
from tests import sites
from tests.conftest import World
from tests.training.sets import decode, log_of, verdict
from training.examples import examples_of, file_name
from training.manifest import Manifest
from training.split import Split

PNEUMONIA = "233604007"
CONFIG = f"""
from models.classifier import Architecture
from models.lungs import LungArchitecture
from models.spec import PreprocessSpec
from training.augment import Augmentation
from training.config import ClassifierConfig, FindingConfig, FitConfig, LungsConfig, TrainingConfig


def get_config():
    fit = FitConfig(epochs=1)
    return TrainingConfig(
        name="test", version="1", findings=(FindingConfig(code="{PNEUMONIA}", name="pneumonia"),),
        spec=PreprocessSpec(name="test", version=1, size=48),
        lungs=LungsConfig(
            architecture=LungArchitecture(widths=(8,), groups=4), augmentation=Augmentation(), fit=fit,
        ),
        classifier=ClassifierConfig(
            architecture=Architecture(findings=1, widths=(8,), blocks=(1,), groups=4, context=0.1),
            field=32, augmentation=Augmentation(), fit=fit,
        ),
        data="", limits="",
    )
"""
Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(kafka: World) -> Command:
    """Starts a command with the settings of the site."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")}
    environment = kept | sites.environment_of(kafka.settings)

    def start(*arguments: object) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "radiolog", *map(str, arguments)]
        return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def radiolog(begin: Command) -> Callable[..., dict]:
    """Runs a command that prints JSON, and holds its exit code against what is expected."""

    def run(*arguments: object, code: int = 0) -> dict:
        with begin(*arguments, "--json") as process:
            stdout, stderr = process.communicate(timeout=240)
        assert process.returncode == code, stderr[-2000:]
        return json.loads(stdout)

    return run


def test_import_twice_and_replay_twice(make_archive, radiolog, kafka: World, tmp_path: Path) -> None:
    archive, config = make_archive(images=40, patients=20, broken="pneumonia/3.png"), tmp_path / "config.py"
    config.write_text(CONFIG)
    first, again = (radiolog("data", "import", archive, code=1) for _ in range(2))
    assert (first["imported"], first["labels"], again["imported"], again["already"]) == (39, 39, 0, 39)
    assert [entry["file"] for entry in first["broken"]] == ["pneumonia/3.png"]

    def replayed(name: str) -> tuple[dict, Manifest]:
        return radiolog("replay", "--config", config, "--out", tmp_path / name), Manifest.load(tmp_path / name)

    (told, manifest), (_, same) = replayed("a.json"), replayed("b.json")
    assert manifest.sha256 == same.sha256 == told["sha256"]
    assert sum(told["splits"].values()) == len(manifest.inputs) == 39

    events = {str(event.event_id): event for event in kafka.events(IMAGES)}
    changed = manifest.of(Split.TRAIN)[0]
    kafka.publish(IMAGES, list(events.values())[:5])
    kafka.publish(LABELS, [verdict(events[changed.event_id], present=not changed.labels[PNEUMONIA])])
    told, later = replayed("c.json")
    assert later.sha256 != manifest.sha256
    assert told["report"]["images"]["resent"] == 5
    assert told["report"]["labels"]["conflicts"] == 1
    now = {image.event_id: image for image in later.inputs}
    assert {i.event_id: i.input_sha256 for i in later.inputs} == {i.event_id: i.input_sha256 for i in manifest.inputs}
    assert now[changed.event_id].labels == {PNEUMONIA: not changed.labels[PNEUMONIA]}
    assert [image.labels for image in manifest.inputs if now[image.event_id].labels != image.labels] == [changed.labels]

    digests = []
    for _ in range(2):
        examples = examples_of(manifest, tmp_path, log_of(kafka), decode)
        digests.append((tmp_path / file_name(manifest)).read_bytes())
        (tmp_path / file_name(manifest)).unlink()
    assert digests[0] == digests[1]
    assert sum(map(len, examples.values())) == 39


def test_an_import_that_is_interrupted_goes_on(make_archive, begin: Command, radiolog, kafka: World) -> None:
    archive = make_archive(images=600, patients=300)
    with begin("data", "import", archive, "--json") as process:
        kafka.until(lambda: len(kafka.read(kafka.pin(LABELS))) > 3 or process.poll() is not None, 120)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode in (130, 0), stderr[-2000:]  # the latter if it was done before the signal came
    told = json.loads(stdout)
    rest = radiolog("data", "import", archive)
    assert rest["already"] >= told["imported"]
    assert rest["already"] + rest["imported"] == 600
    images = [event.event_id for event in kafka.events(IMAGES)]
    labels = [event.event_id for event in kafka.events(LABELS)]
    assert len(set(images)) == len(set(labels)) == 600
