"""Whose object it is: the identifiers in a header, and the names that they go by on the log."""

from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from pydicom.tag import Tag

from producers.errors import BrokenObject
from producers.kept_values import is_uid
from producers.pseudonyms import Pseudonyms
from producers.values import has_control_characters, raw_texts_of, text_of, texts_of
from radiolog import __version__
from schemas.events import Identity, IdentityKind, derived_id

PATIENT_KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY_KEYWORDS = ("StudyInstanceUID", "AccessionNumber", "StudyID", "StudyDate")
UID_CHARACTERS = 64
#: LO allows 64 and PN five times that; what is far longer is no identifier, and breaks whoever indexes it.
ATTRIBUTE_CHARACTERS = 1024


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
                Or an identifying attribute is longer than 1,024 characters.
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


def sop_class_of(header: Dataset) -> str:
    """SOP Class UID of the object with this header.

    Raises:
        BrokenObject: it is missing, or no UID.
    """
    uid = _uid(header, "SOPClassUID")
    if not is_uid(uid):
        raise BrokenObject(f"SOPClassUID {Tag('SOPClassUID')} is not a UID")
    return uid


def _attributes(header: Dataset, keywords: tuple[str, ...]) -> dict[str, str]:
    attributes = {keyword: "\\".join(texts) for keyword in keywords if (texts := texts_of(header, keyword))}
    for keyword, text in attributes.items():
        if len(text) > ATTRIBUTE_CHARACTERS:
            raise BrokenObject(f"{keyword} {Tag(keyword)} is longer than {ATTRIBUTE_CHARACTERS} characters")
    return attributes


def _uid(header: Dataset, keyword: str) -> str:
    uids = raw_texts_of(header, keyword)
    if not uids:
        raise BrokenObject(f"{keyword} {Tag(keyword)} is missing")
    # Other de-identifiers leave hexadecimal digests here, and they tell objects apart: any printable text will do.
    if len(uids) > 1 or len(uids[0]) > UID_CHARACTERS:
        raise BrokenObject(f"{keyword} {Tag(keyword)} is not one UID of at most {UID_CHARACTERS} characters")
    if has_control_characters(uids[0]):
        raise BrokenObject(f"{keyword} {Tag(keyword)} holds control characters")
    return uids[0]
