"""The sidecar of a picture: what a DICOM header would say of it, as JSON. docs/folder.md describes the form."""

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydicom.sr.codedict import codes

from producers.errors import BrokenObject
from producers.values import has_control_characters, plain

MAX_SIDECAR_BYTES: Final = 64 * 1024
MAX_OFFSET: Final = timedelta(hours=14)
#: Modality (0008,0060) of an ophthalmic photograph, and of any other photograph (PS3.3 sections A.41 and A.32.4).
OPHTHALMIC, PHOTOGRAPH = "OP", "XC"

#: Body parts as keywords of SNOMED CT concepts in pydicom; written as BodyPartExamined in capital letters.
_REGIONS: Final = (
    *("Abdomen", "Axilla", "Back", "Breast", "Buttock", "Chest", "Ear", "EntireBody", "Eye", "Face", "Finger", "Foot"),
    *("Forearm", "Hand", "Head", "Hip", "Knee", "Larynx", "LowerLeg", "LowerLimb", "Mouth", "Neck", "Nose", "Pelvis"),
    *("Retina", "Scalp", "Shoulder", "Skin", "Thigh", "Toe", "Tongue", "Tooth", "Trunk", "UpperArm", "UpperLimb"),
)
#: CS allows 16 characters (PS3.5 section 6.2); all of the above keep to that.
REGIONS: Final = {keyword.upper(): keyword for keyword in _REGIONS}

#: Kinds of device in context group 4202 (PS3.16), which an ophthalmic photograph has to name.
OPHTHALMIC_DEVICES: Final = frozenset(codes.cid4202.dir())


def _one_line(text: str) -> str:
    if has_control_characters(text) or "\\" in text or text != text.strip():
        raise ValueError("holds a control character, a backslash, or blanks around it")
    return text


def _person(text: str) -> str:
    groups = text.split("=")
    if len(groups) > 3 or any(len(group) > 64 or group.count("^") > 4 for group in groups):
        raise ValueError("is no name as PS3.5 section 6.2 has it: Family^Given^Middle^Prefix^Suffix")
    return text


def _utc_offset(instant: datetime) -> datetime:
    offset = instant.utcoffset()
    if offset is not None and (offset % timedelta(minutes=1) or not -MAX_OFFSET < offset <= MAX_OFFSET):
        raise ValueError("has an offset from UTC that DICOM cannot write")
    return instant


_ShortText = Annotated[str, Field(min_length=1, max_length=16), AfterValidator(_one_line)]
_Text = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
_Code = Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$"), AfterValidator(_one_line)]
_Uid = Annotated[str, Field(max_length=64, pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+$")]
_PersonName = Annotated[str, Field(min_length=1), AfterValidator(_one_line), AfterValidator(_person)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Patient(_Part):
    """Whose picture it is (PS3.3 section C.7.1.1)."""

    id: _Text
    issuer: _Text | None = None
    name: _PersonName | None = None
    birth_date: date | None = None
    sex: Literal["M", "F", "O"] | None = None


class Device(_Part):
    """What took it (PS3.3 section C.7.5.1); `type` is a term of context group 4202, for modality OP."""

    manufacturer: _Text
    model: _Text | None = None
    serial_number: _Text | None = None
    software: _Text | None = None
    type: str | None = None


class Sidecar(_Part):
    """Version 1 of the form. A field that it does not have is an error, so that no site believes it was heard."""

    version: Literal[1]
    patient: Patient
    modality: _Code
    acquired_at: Annotated[datetime, AfterValidator(_utc_offset)]
    device: Device
    burned_in_annotation: bool
    study_uid: _Uid | None = None
    series_uid: _Uid | None = None
    accession_number: _ShortText | None = None
    series_description: _Text | None = None
    instance_number: Annotated[int, Field(ge=1, lt=2**31)] = 1
    body_part: _Code | None = None
    laterality: Literal["R", "L", "B"] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "Sidecar":
        if self.study_uid is None and self.accession_number is None:
            raise ValueError("study_uid or accession_number is missing: one of them says which study it belongs to")
        if self.modality == PHOTOGRAPH and self.body_part not in REGIONS:
            raise ValueError(f"body_part is needed with modality XC, one of {_list(REGIONS)}")
        if self.modality == OPHTHALMIC and self.laterality is None:
            raise ValueError("laterality is needed with modality OP: R, L or B")
        if self.modality == OPHTHALMIC and self.device.type not in OPHTHALMIC_DEVICES:
            raise ValueError(f"device.type is needed with modality OP, one of {_list(OPHTHALMIC_DEVICES)}")
        if self.modality != OPHTHALMIC and self.device.type is not None:
            raise ValueError("device.type is for modality OP alone")
        return self


def parse_sidecar(content: bytes) -> Sidecar:
    """The sidecar in the content of a file.

    Raises:
        BrokenObject: it is none. The first line of the message can be logged; the others name each field at fault, and
            hold no value, but names of fields that are not in the form are the writer's own.
    """
    try:
        text = content.decode("utf-8-sig")
        json.loads(text, object_pairs_hook=_without_duplicates)
        return Sidecar.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise BrokenObject("\n".join(["the sidecar is wrong", *map(_told, problems)])) from None
    except (ValueError, RecursionError) as error:
        raise BrokenObject(f"the sidecar is no JSON in UTF-8 ({type(error).__name__})") from None


class DuplicateField(ValueError):
    """A field is there twice: readers differ in which one they believe."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise DuplicateField
    return dict(pairs)


def _told(problem: Any) -> str:
    place = ".".join(plain(str(step))[:64] for step in problem["loc"])
    known = {"missing": "is missing", "extra_forbidden": "is not a field of the form"}
    message = known.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    return f"{place}: {message}" if place else str(message)


def _list(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
