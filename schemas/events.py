"""The events of the log as typed, frozen values; `schemas/avro` says what each field means.

A test holds every class here against its Avro schema, name by name and type by type.
"""

from enum import StrEnum
from typing import Annotated
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from typing_extensions import override

NAMESPACE = uuid5(NAMESPACE_URL, "urn:radiolog:event")

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[bytes, Field(min_length=32, max_length=32)]
HexSha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SourceKind(StrEnum):
    """Kinds of adapter."""

    UNKNOWN = "UNKNOWN"
    C_STORE = "C_STORE"
    STOW_RS = "STOW_RS"
    FOLDER = "FOLDER"
    FILE = "FILE"
    DATASET = "DATASET"


class PixelStatus(StrEnum):
    """What a DICOM object held."""

    UNKNOWN = "UNKNOWN"
    PIXELS = "PIXELS"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"


class PixelType(StrEnum):
    """Types of one pixel, little endian."""

    UNKNOWN = "UNKNOWN"
    UINT8 = "UINT8"
    FLOAT16 = "FLOAT16"


class DiagnosisStatus(StrEnum):
    """Whether the model spoke."""

    UNKNOWN = "UNKNOWN"
    DIAGNOSED = "DIAGNOSED"
    OUT_OF_SCOPE = "OUT_OF_SCOPE"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"


class Decision(StrEnum):
    """Presence of a finding by threshold."""

    UNKNOWN = "UNKNOWN"
    PRESENT = "PRESENT"
    ABSENT = "ABSENT"
    INDETERMINATE = "INDETERMINATE"


class Severity(StrEnum):
    """Extent of a finding."""

    UNKNOWN = "UNKNOWN"
    NONE = "NONE"
    MILD = "MILD"
    MODERATE = "MODERATE"
    SEVERE = "SEVERE"


class LabelSource(StrEnum):
    """Kinds of author of a label."""

    UNKNOWN = "UNKNOWN"
    RADIOLOGIST = "RADIOLOGIST"
    REPORT = "REPORT"
    DATASET = "DATASET"


class ModelRole(StrEnum):
    """What a model bundle is for."""

    UNKNOWN = "UNKNOWN"
    CHAMPION = "CHAMPION"
    CHALLENGER = "CHALLENGER"
    RETIRED = "RETIRED"


class IdentityKind(StrEnum):
    """Levels of the DICOM information model (PS3.3 section 7)."""

    UNKNOWN = "UNKNOWN"
    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    INSTANCE = "INSTANCE"


class Record(BaseModel):
    """A frozen Avro record."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class EventRef(Record):
    """An event and its place on the log."""

    event_id: UUID
    topic: str
    partition: int
    offset: int


class ImageSource(Record):
    """The adapter, and the peer that it got an object from."""

    kind: SourceKind
    peer: str
    adapter: str


class ObjectRef(Record):
    """A content-addressed object in the object store; size in bytes."""

    sha256: Sha256
    size: int


class PixelGeometry(Record):
    """Crop, resize, then pad: the way from an original image to model pixels; lengths in pixels."""

    original_rows: int
    original_columns: int
    crop_top: int
    crop_left: int
    crop_rows: int
    crop_columns: int
    resized_rows: int
    resized_columns: int
    pad_top: int
    pad_left: int


class ExplanationMap(Record):
    """A map over the model's square input: height x width bytes, row by row, 255 its greatest possible value."""

    height: int
    width: int
    values: bytes


class Finding(Record):
    """One finding, by threshold."""

    code: str
    name: str
    probability: Share
    threshold: Share
    decision: Decision
    severity: Severity
    area_share: Share
    explanation: ExplanationMap


class Event(Record):
    """What every record on the log has in common."""

    event_id: UUID
    code_version: str

    @property
    def key(self) -> str:
        """The record's key: what it must stay in order with, or be compacted by."""
        raise NotImplementedError

    @property
    def origin(self) -> UUID | None:
        """The event_id of the image that this event goes back to, if any."""
        return None


class StudyEvent(Event):
    """An event that belongs to a study."""

    study_uid: str

    @property
    @override
    def key(self) -> str:
        return self.study_uid


class ImageEvent(StudyEvent):
    """One DICOM object as a device sent it, de-identified."""

    patient_pseudonym: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str | None = None
    body_part: str | None = None
    view_position: str | None = None
    burned_in_annotation: bool | None = None
    deidentification: str
    source: ImageSource
    acquired_at: AwareDatetime | None = None
    received_at: AwareDatetime
    published_at: AwareDatetime
    received_bytes: int
    received_sha256: Sha256
    payload_ref: ObjectRef | None = None
    payload: bytes

    @property
    @override
    def origin(self) -> UUID:
        return self.event_id


class PreprocessedImage(StudyEvent):
    """Model-ready pixels of one image, or the statement that there are none."""

    source: EventRef
    patient_pseudonym: str
    series_uid: str
    sop_instance_uid: str
    modality: str | None = None
    body_part: str | None = None
    status: PixelStatus
    spec_id: str
    spec_sha256: HexSha256
    frame: int
    height: int
    width: int
    dtype: PixelType
    geometry: PixelGeometry | None = None
    received_at: AwareDatetime
    published_at: AwareDatetime
    preprocessed_at: AwareDatetime
    pixels: bytes

    @property
    @override
    def origin(self) -> UUID:
        return self.source.event_id


class Diagnosis(StudyEvent):
    """What a model says of one image."""

    image: EventRef
    source: EventRef
    patient_pseudonym: str
    series_uid: str
    sop_instance_uid: str
    modality: str | None = None
    body_part: str | None = None
    status: DiagnosisStatus
    reason: str | None = None
    findings: tuple[Finding, ...]
    lungs: ExplanationMap | None = None
    geometry: PixelGeometry | None = None
    scope_distance: float | None = None
    scope_threshold: float | None = None
    model_name: str
    model_version: str
    model_sha256: HexSha256
    operating_point: str
    spec_sha256: HexSha256
    received_at: AwareDatetime
    published_at: AwareDatetime
    preprocessed_at: AwareDatetime
    diagnosed_at: AwareDatetime

    @property
    @override
    def origin(self) -> UUID:
        return self.image.event_id


class Label(StudyEvent):
    """Ground truth on one finding of one image."""

    image_event_id: UUID
    code: str
    name: str
    decision: Decision
    severity: Severity
    source: LabelSource
    author: str
    labelled_at: AwareDatetime

    @property
    @override
    def origin(self) -> UUID:
        return self.image_event_id


class ModelRelease(Event):
    """The role of one model bundle."""

    name: str
    version: str
    sha256: HexSha256
    role: ModelRole
    spec_sha256: HexSha256
    metrics: dict[str, float]
    released_by: str
    released_at: AwareDatetime

    @property
    @override
    def key(self) -> str:
        return f"{self.name}@{self.version}"


class Identity(Event):
    """RESTRICTED: one pseudonym and the identifiers that it stands for."""

    kind: IdentityKind
    pseudonym: str
    attributes: dict[str, str]
    recorded_at: AwareDatetime

    @property
    @override
    def key(self) -> str:
        return self.pseudonym


class DeadLetter(Event):
    """An event that a stage could not process, by its coordinates."""

    stage: str
    error_class: str
    reason: str
    topic: str
    partition: int
    offset: int
    source_event_id: UUID | None = None
    image_event_id: UUID | None = None
    study_uid: str | None = None
    failed_at: AwareDatetime
    retried_at: AwareDatetime | None = None

    @property
    @override
    def key(self) -> str:
        return self.study_uid or str(self.event_id)

    @property
    @override
    def origin(self) -> UUID | None:
        return self.image_event_id


def derived_id(*parts: str | bytes | UUID) -> UUID:
    """The deterministic id of an event made from `parts` (RFC 9562 section 5.5): a replay makes the same one."""
    texts = [part.hex() if isinstance(part, bytes) else str(part) for part in parts]
    return uuid5(NAMESPACE, "\x1f".join(texts))


def image_event_id(received_sha256: bytes) -> UUID:
    """The id of the image whose bytes, as received, have this SHA-256."""
    return derived_id("image", received_sha256)
