"""One file through the same code as the stream, with no log: `radiolog predict`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.decision import FindingDecision, in_words, interpret, screen
from models.pixels import (
    NotAnImage,
    PixelError,
    decode,
    decode_raster,
    raster_to_model_input,
    to_model_input,
)
from models.predictor import Predictor
from schemas.events import DiagnosisStatus

UNREADABLE = "UNREADABLE"
RASTERS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """What the model says of one file; `status` is None if the file can't be read."""

    path: Path
    status: DiagnosisStatus | None
    reason: str | None
    findings: tuple[FindingDecision, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the file could not be read."""
        return self.status is None

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        findings = {
            finding.name: {
                "probability": finding.probability,
                "threshold": finding.threshold,
                "decision": finding.decision,
                "severity": finding.severity,
                "area_share": finding.area_share,
            }
            for finding in self.findings
        }
        status = self.status or UNREADABLE
        return {"file": str(self.path), "status": status, "reason": self.reason, "findings": findings}

    def table_rows(self) -> list[tuple[object, ...]]:
        """File, status and what is said: a row for each finding, or one that says why there is none."""
        if not self.findings:
            return [(self.path.name, self.status or UNREADABLE, self.reason)]
        said = [in_words(f.name, f.decision, f.probability, f.severity) for f in self.findings]
        return [(self.path.name, self.status, said[0]), *(("", "", line) for line in said[1:])]


def predict_file(engine: Predictor, path: Path) -> FileAnswer:
    """Asks the model about a DICOM, JPEG or PNG file."""
    try:
        return _predict(engine, path)
    except NotAnImage:
        return FileAnswer(path, DiagnosisStatus.NOT_AN_IMAGE, "the object holds no pixels")
    except PixelError as error:
        return FileAnswer(path, None, str(error))
    except OSError as error:
        return FileAnswer(path, None, error.strerror)


def _predict(engine: Predictor, path: Path) -> FileAnswer:
    bundle = engine.bundle
    modality: str | None = None
    body_part: str | None = None
    if path.suffix.lower() in RASTERS:
        pixels, _ = raster_to_model_input(decode_raster(path.read_bytes()), bundle.spec)
    else:
        image = decode(path.read_bytes())
        modality, body_part = image.header.get("Modality"), image.header.get("BodyPartExamined")
        pixels, _ = to_model_input(image, bundle.spec)
    verdict = screen(bundle, pixels, modality, body_part)
    if verdict.in_scope:
        (reading,) = interpret(bundle, engine.predict(pixels[None]))
        if reading.scope.in_scope:
            return FileAnswer(path, DiagnosisStatus.DIAGNOSED, None, reading.findings)
        verdict = reading.scope
    return FileAnswer(path, DiagnosisStatus.OUT_OF_SCOPE, verdict.reason)
