"""A manifest: everything that decides which model inputs, labels and splits a data set from the log has.

It names places on the log, pseudonyms and hashes; no clock and no machine. The same manifest gives the same bytes on
another day, and two manifests with the same hash are the same data set.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from models.spec import PreprocessSpec, SpecError
from training.split import Split

FORMAT: Final = 1


class ManifestError(Exception):
    """A file that is no manifest, or not the one that it was."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A slice of a topic: its full name, and by partition the first offset, and the one after the last."""

    topic: str
    start: Mapping[int, int]
    end: Mapping[int, int]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; partitions in order."""
        return {
            "topic": self.topic,
            "start": {str(partition): self.start[partition] for partition in sorted(self.start)},
            "end": {str(partition): self.end[partition] for partition in sorted(self.end)},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Of `to_json`."""
        start, end = ({int(p): int(at) for p, at in document[edge].items()} for edge in ("start", "end"))
        return cls(document["topic"], start, end)


@dataclass(frozen=True, slots=True)
class ManifestImage:
    """One model input.

    Attributes:
        event_id: of the image.
        partition: of the record that it is made from, in the manifest's topic of images.
        offset: of that record.
        patient: the pseudonym.
        labels: by SNOMED CT concept id, whether the finding is there; nothing is known of those that are missing.
        split: what it is for.
        input_sha256: SHA-256 in hex of the model input's pixels.
    """

    event_id: str
    partition: int
    offset: int
    patient: str
    labels: Mapping[str, bool]
    split: Split
    input_sha256: str

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "event_id": self.event_id,
            "partition": self.partition,
            "offset": self.offset,
            "patient": self.patient,
            "labels": {code: self.labels[code] for code in sorted(self.labels)},
            "split": str(self.split),
            "input_sha256": self.input_sha256,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Of `to_json`."""
        return cls(**{**document, "split": Split(document["split"])})


@dataclass(frozen=True, slots=True)
class Manifest:
    """A data set from the log.

    Attributes:
        images: the slice of `images` or `preprocessed` that it was made from.
        labels: the slice of `labels`.
        findings: name by SNOMED CT concept id, in the order of the label columns.
        spec: how model inputs are made.
        shares: of the images, by split.
        seed: of the split.
        inputs: the model inputs by split, then by their place on the log.
        report: what was left out and why, in counts and event ids.
    """

    images: Pinned
    labels: Pinned
    findings: Mapping[str, str]
    spec: PreprocessSpec
    shares: Mapping[Split, float]
    seed: int
    inputs: Sequence[ManifestImage]
    report: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, without the hash."""
        return {
            "format": FORMAT,
            "images": self.images.to_json(),
            "labels": self.labels.to_json(),
            "findings": [{"code": code, "name": name} for code, name in self.findings.items()],
            "spec": self.spec.to_json(),
            "spec_sha256": self.spec.sha256,
            "shares": {str(part): share for part, share in self.shares.items()},
            "seed": self.seed,
            "inputs": [image.to_json() for image in self.inputs],
            "report": dict(self.report),
        }

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the canonical JSON (sorted keys, no blanks)."""
        return _sha256(self.to_json())

    def of(self, split: Split) -> tuple[ManifestImage, ...]:
        """The inputs of one split, in order."""
        return tuple(image for image in self.inputs if image.split is split)

    def save(self, path: Path) -> None:
        """Write it, all of it or nothing; the same manifest gives the same bytes."""
        document = self.to_json()
        text = json.dumps({**document, "sha256": _sha256(document)}, indent=1, sort_keys=True) + "\n"
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest.

        Raises:
            ManifestError: it is none, or was changed since it was written.
        """
        try:
            document = json.loads(path.read_bytes())
            if not isinstance(document, dict) or document.get("format") != FORMAT:
                raise ManifestError(f"{path} is no manifest of format {FORMAT}: make one with `radiolog replay`")
            if document.pop("sha256", None) != _sha256(document):
                raise ManifestError(f"{path} was changed since it was written: its hash is another")
            return cls._from_json(document)
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError, SpecError) as error:
            raise ManifestError(f"{path} is no manifest ({type(error).__name__})") from error

    @classmethod
    def _from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            images=Pinned.from_json(document["images"]),
            labels=Pinned.from_json(document["labels"]),
            findings={finding["code"]: finding["name"] for finding in document["findings"]},
            spec=PreprocessSpec.from_json(document["spec"]),
            shares={Split(part): share for part, share in document["shares"].items()},
            seed=document["seed"],
            inputs=tuple(map(ManifestImage.from_json, document["inputs"])),
            report=document["report"],
        )


def _sha256(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
