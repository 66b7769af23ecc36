"""Small data sets on a log: pictures of patients, imported as `radiolog data import` does."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import cv2
import numpy as np

from models.spec import PreprocessSpec
from producers.dataset import DatasetImport, Imported, LabelledImage
from producers.dataset_labels import Author, Known
from producers.dataset_object import DatasetImage, DatasetObjects
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.objects import ObjectStore
from radiolog.log.publisher import Publisher
from schemas.events import Decision, ImageEvent, Label, LabelSource, Severity, derived_id
from training.inputs import Log, run
from training.replay import Plan
from training.split import Split

CODES = {"pneumonia": "233604007", "viral pneumonia": "75570004"}
OTHER_CODES = {"mass": "309529002"}
SPEC = PreprocessSpec(name="test", version=1, size=48)
SHARES = {Split.TRAIN: 0.6, Split.VALIDATION: 0.2, Split.TEST: 0.2}
PLAN = Plan(findings={code: name for name, code in CODES.items()}, spec=SPEC, shares=SHARES, seed=1)
THEN = datetime(1970, 1, 1, tzinfo=UTC)


def picture(seed: int) -> np.ndarray:
    """Broad patches, 56 x 56: pictures of other seeds are not like it."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (7, 7)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (56, 56), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def labelled(number: int, seed: int | None = None, patient: str | None = None, **findings: bool) -> LabelledImage:
    """A picture by its number; every third shows pneumonia unless findings say otherwise."""
    said = {name.replace("_", " "): there for name, there in findings.items()} or {"pneumonia": number % 3 == 0}
    image = DatasetImage(f"{number}.png", patient or f"p{number // 2}", picture(number if seed is None else seed))
    return LabelledImage(image.name, said, lambda: image)


def imported(world, publisher: Publisher, images: list[LabelledImage], edition: str = "00") -> list[Imported]:
    """Imports them."""
    pseudonyms = Pseudonyms(world.settings.require_site_secret())
    author = Author(f"set sha256:{edition}", THEN, CODES | OTHER_CODES)
    known = Known.of(world.settings, world.codec, world.clients)
    intake, objects = Intake(publisher, pseudonyms, world.settings), DatasetObjects("set", "DX", "CHEST")
    return list(DatasetImport(publisher, intake, pseudonyms, objects, author, known).run(images))


def verdict(image: ImageEvent, present: bool, hours: int = 1, author: str = "reader") -> Label:
    """What a radiologist says of an image, some hours after the data set."""
    at = THEN + timedelta(hours=hours)
    return Label(
        event_id=derived_id("label", image.event_id, CODES["pneumonia"], author, at.isoformat()),
        code_version="test",
        study_uid=image.study_uid,
        image_event_id=image.event_id,
        code=CODES["pneumonia"],
        name="pneumonia",
        decision=Decision.PRESENT if present else Decision.ABSENT,
        severity=Severity.UNKNOWN,
        source=LabelSource.RADIOLOGIST,
        author=author,
        labelled_at=at,
    )


def log_of(world) -> Log:
    return Log(world.settings, world.codec, ObjectStore.from_settings(world.settings), world.clients)


def decode(jobs):
    return [run(job) for job in jobs]


def said(manifest) -> Mapping[UUID, Mapping[str, bool]]:
    return {UUID(image.event_id): image.labels for image in manifest.inputs}
