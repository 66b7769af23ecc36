"""Whose object it is: the identifiers in a header, and the names that they go by on the log."""

from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from pydicom.tag import Tag

from producers.errors import BrokenObject
from producers.pseudonyms import Pseudonyms
from producers.values import text_of, texts_of
from radiolog import __version__
from schemas.events import Identity, IdentityKind, derived_id

PATIENT_KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY_KEYWORDS = ("StudyInstanceUID", "AccessionNumber", "StudyID", "StudyDate")
UID_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Names:
    """What an object is called at each level of the information model (PS3.3 section 7)."""

    patient: str
    study: str
    series: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The original identifiers of one object; they leave this process only in `Identity` events."""

    original: Names
    issuer: str
    patient: dict[str, str]
    study: dict[str, str]

    @classmethod
    def of(cls, header: Dataset) -> "Subject":
        """The identifiers of the object with this header.

        Raises:
            BrokenObject: SOP Instance UID, Study Instance UID or Series Instance UID is missing. Each is Type 1 in
                every image (PS3.3 sections C.12.1, C.7.2.1 and C.7.3.1), and an event has no key without its study.
        """
        original = Names(
            patient=text_of(header, "PatientID"),
            study=_uid(header, "StudyInstanceUID"),
            series=_uid(header, "SeriesInstanceUID"),
            sop_instance=_uid(header, "SOPInstanceUID"),
        )
        patient, study = _attributes(header, PATIENT_KEYWORDS), _attributes(header, STUDY_KEYWORDS)
        return cls(original, text_of(header, "IssuerOfPatientID"), patient, study)

    def pseudonymous(self, pseudonyms: Pseudonyms) -> Names:
        """The names that the object goes by on the log."""
        original = self.original
        if original.patient:
            patient = pseudonyms.patient(original.patient, self.issuer)
        else:
            patient = pseudonyms.unnamed_patient(original.study)
        uids = (pseudonyms.uid(uid) for uid in (original.study, original.series, original.sop_instance))
        return Names(patient, *uids)

    def identities(self, names: Names, recorded_at: datetime) -> list[Identity]:
        """What each of `names` stands for."""
        series = {"SeriesInstanceUID": self.original.series}
        instance = {"SOPInstanceUID": self.original.sop_instance} | series
        return [
            _identity(IdentityKind.PATIENT, names.patient, self.patient, recorded_at),
            _identity(IdentityKind.STUDY, names.study, self.study, recorded_at),
            _identity(IdentityKind.SERIES, names.series, series, recorded_at),
            _identity(IdentityKind.INSTANCE, names.sop_instance, instance, recorded_at),
        ]


def _identity(kind: IdentityKind, pseudonym: str, attributes: dict[str, str], recorded_at: datetime) -> Identity:
    pairs = (part for pair in sorted(attributes.items()) for part in pair)
    return Identity(
        event_id=derived_id("identity", kind, pseudonym, *pairs),
        code_version=__version__,
        kind=kind,
        pseudonym=pseudonym,
        attributes=attributes,
        recorded_at=recorded_at,
    )


def _attributes(header: Dataset, keywords: tuple[str, ...]) -> dict[str, str]:
    return {keyword: "\\".join(texts) for keyword in keywords if (texts := texts_of(header, keyword))}


def _uid(header: Dataset, keyword: str) -> str:
    uids = texts_of(header, keyword)
    if not uids:
        raise BrokenObject(f"{keyword} {Tag(keyword)} is missing")
    # Characters are not checked: other de-identifiers leave hexadecimal digests here, and they tell objects apart.
    if len(uids) > 1 or len(uids[0]) > UID_CHARACTERS:
        raise BrokenObject(f"{keyword} {Tag(keyword)} is not one UID of at most {UID_CHARACTERS} characters")
    return uids[0]
