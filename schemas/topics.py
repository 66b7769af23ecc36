"""The topics of the log, their contracts and how long each is kept (DESIGN: retention)."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from schemas.events import (
    DeadLetter,
    Diagnosis,
    Event,
    Identity,
    ImageEvent,
    Label,
    ModelRelease,
    PreprocessedImage,
)

E = TypeVar("E", bound=Event, covariant=True)


class Cleanup(StrEnum):
    """Kafka's `cleanup.policy`."""

    DELETE = "delete"
    COMPACT = "compact"


@dataclass(frozen=True, slots=True)
class Topic(Generic[E]):
    """One topic: name without the site's prefix, contract, and retention (None: forever)."""

    name: str
    event: type[E]
    schema: str
    retention: timedelta | None = None
    cleanup: Cleanup = Cleanup.DELETE

    def full_name(self, prefix: str) -> str:
        """The name on the broker."""
        return f"{prefix}{self.name}"


IMAGES = Topic("images", ImageEvent, "image_event")
PREPROCESSED = Topic("preprocessed", PreprocessedImage, "preprocessed_image")
DIAGNOSES = Topic("diagnoses", Diagnosis, "diagnosis")
DIAGNOSES_SHADOW = Topic("diagnoses.shadow", Diagnosis, "diagnosis", timedelta(days=90))
LABELS = Topic("labels", Label, "label")
MODELS = Topic("models", ModelRelease, "model_release", cleanup=Cleanup.COMPACT)
IDENTITIES = Topic("identities", Identity, "identity", cleanup=Cleanup.COMPACT)
DEAD_LETTERS = Topic("deadletters", DeadLetter, "dead_letter", timedelta(days=90))

TOPICS: tuple[Topic[Event], ...] = (
    IMAGES,
    PREPROCESSED,
    DIAGNOSES,
    DIAGNOSES_SHADOW,
    LABELS,
    MODELS,
    IDENTITIES,
    DEAD_LETTERS,
)
