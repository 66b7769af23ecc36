"""Objects with a person planted in every place that can hold one, and how to look for the person afterwards.

Data sets are encoded here byte by byte (PS3.5 section 7), so that neither pydicom nor the code under test decides on
what is written; what is planted in existing files goes through pydicom, since their structure is what counts there.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import DicomDictionary
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from producers import dicom_object

LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
UNDEFINED = 0xFFFFFFFF
ROOT = "1.2.826.0.1.3680043.9.7741"


@dataclass(frozen=True)
class Person:
    """Whom an object is of.

    Attributes:
        name: as PN has it.
        character_set: of SpecificCharacterSet.
        codec: how Python calls it.
        escape: what ISO 2022 puts before a text in it.
    """

    name: str = "Zwyrtek^Quibalda"
    character_set: str = "ISO_IR 100"
    codec: str = "latin-1"
    escape: bytes = b""
    patient_id: str = "990417731"
    accession_number: str = "ACC55120388"
    birth_date: str = "19480317"

    def encoded(self) -> bytes:
        return b"^".join(self.escape + part.encode(self.codec) for part in self.name.split("^"))

    def value(self, vr: str) -> bytes:
        """What is planted in an element of `vr`."""
        code = self.name.split("^")[0].upper() if self.name.isascii() else self.patient_id
        match vr:
            case "AE" | "CS" | "AS":
                return code.encode()
            case "DS" | "IS" | "TM":
                return self.patient_id.encode()
            case "DA":
                return self.birth_date.encode()
            case "DT":
                return f"{self.birth_date}093011.{self.patient_id[:6]}".encode()
            case "UI":
                return f"{ROOT}.{self.patient_id}".encode()
            case "UR":
                return f"https://zwyrtek.example/{self.patient_id}".encode()
            case "PN":
                return self.encoded()
        return self.encoded() + b" " + self.patient_id.encode()

    def needles(self) -> set[bytes]:
        """What must not be found, in every encoding, as `bytes.lower` leaves it."""
        texts = {*self.name.split("^"), self.patient_id, self.accession_number[3:], self.birth_date, f"{ROOT[-9:]}."}
        found = set()
        for text in texts:
            for codec in ("latin-1", "utf-8", "utf-16-le", "utf-16-be", "shift_jis", "euc_jp", "euc_kr", "gb18030"):
                for variant in (text, text.upper()):
                    try:
                        found.add(variant.encode(codec).lower())
                    except UnicodeEncodeError:
                        continue
        return {needle for needle in found if len(needle) >= 4} | self._escaped()

    def _escaped(self) -> set[bytes]:
        """The parts of the name as they stand behind an escape sequence."""
        if self.codec != "iso2022_jp":
            return set()
        return {part.encode(self.codec)[3:-3].lower() for part in self.name.split("^")}


PEOPLE = {
    "latin": Person(),
    "japanese": Person("山田^太郎", "\\ISO 2022 IR 87", "iso2022_jp", patient_id="990417732"),
    "korean": Person("김남^희중", "\\ISO 2022 IR 149", "euc_kr", b"\x1b$)C", patient_id="990417733"),
    "chinese": Person("王小^东方", "GB18030", "gb18030", patient_id="990417734"),
    "unicode": Person("Жуков^Ёжик", "ISO_IR 192", "utf-8", patient_id="990417735"),
    "broken": Person("Zwyrtęk^Quibałda", "ISO_IR 9999", "utf-8", patient_id="990417736"),
}
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


@dataclass
class Writer:
    """Encodes a data set, and counts the values that it planted."""

    person: Person
    syntax: UID
    planted: int = 0
    given: dict[int, bytes] = field(default_factory=dict)

    def everything(self, number: int) -> bytes:
        """An object with the person in every element of the dictionary, three levels deep, and in private blocks."""
        uid = f"{ROOT}.{self.person.patient_id}.{number}"
        self.given = {
            0x00080005: self.person.character_set.encode(),
            0x00080016: ComputedRadiographyImageStorage.encode(),
            0x00080018: f"{uid}.3".encode(),
            0x00080050: self.person.accession_number.encode(),
            0x00100010: self.person.encoded(),
            0x00100020: self.person.patient_id.encode(),
            0x00100030: self.person.birth_date.encode(),
            0x0020000D: f"{uid}.1".encode(),
            0x0020000E: f"{uid}.2".encode(),
        }
        encoded = self._level(3)
        if self.syntax == DeflatedExplicitVRLittleEndian:
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            return deflater.compress(encoded) + deflater.flush()
        return encoded

    def _level(self, depth: int) -> bytes:
        """Every element; sequences hold the next level, each a part of it, the first of them all of it."""
        tags = sorted(tag for tag in DicomDictionary if 4 <= tag >> 16 < 0xFFFC and tag >> 16 != 0x7FE0)
        sequences = [tag for tag in tags if DicomDictionary[tag][0] == "SQ"]
        whole = {0x00082218, 0x52009229} if depth > 1 else set()  # Anatomic Region, Shared Functional Groups
        private = self._private(depth)
        written = []
        for tag in [*tags, *private]:
            if tag in private:
                written.append((tag, private[tag]))
            elif tag in sequences:
                items = [self._level(depth - 1) if tag in whole else self._few()] if depth == 3 or tag in whole else []
                written.append((tag, self._sequence(tag, items, undefined=bool(tag & 1))))
            else:
                vr = DicomDictionary[tag][0].split(" or ")[0].replace("NONE", "UN")
                value = self.given.get(tag) if depth == 3 else None
                written.append((tag, self._element(tag, vr, value or self._planted(vr))))
        return b"".join(content for _, content in sorted(written))

    def _few(self) -> bytes:
        """A text, a name, a date, a UID, and a number that a sender put where the standard has something else."""
        own = ((0x00080080, "LO"), (0x00081155, "UI"), (0x00100010, "PN"), (0x00181150, "IS"), (0x00400002, "DA"))
        return b"".join(self._element(tag, vr, self._planted(vr)) for tag, vr in own)

    def _private(self, depth: int) -> dict[int, bytes]:
        vrs = ("LO", "PN", "UN", "OB", "ST", "DA", "UI", "DS", "UT")
        block = {0x00090010: self._element(0x00090010, "LO", b"ZWYRTEK MEDICAL")}
        for number, vr in enumerate(vrs):
            tag = 0x00091000 + number
            block[tag] = self._element(tag, vr, self._planted(vr))
        if depth:
            block[0x00091020] = self._sequence(0x00091020, [self._few()], undefined=True)
            block[0x00091021] = self._sequence(0x00091021, [self._few()], undefined=False)
        return block

    def _planted(self, vr: str) -> bytes:
        self.planted += 1
        return self.person.value(vr)

    @property
    def _order(self) -> str:
        return "<" if self.syntax.is_little_endian else ">"

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        unit = {"OD": 8, "FD": 8, "SV": 8, "UV": 8, "OV": 8, "US": 2, "SS": 2, "OW": 2}.get(vr, 4)
        size = 2 if vr not in {"OD", "FD", "SV", "UV", "OV", "UL", "SL", "FL", "OF", "OL", "AT"} else unit
        value += (b" " if vr not in {"OB", "UN", "UI"} else b"\0") * (-len(value) % size)
        return self._head(tag, vr, len(value)) + value

    def _sequence(self, tag: int, items: Sequence[bytes], *, undefined: bool) -> bytes:
        content = b"".join(self._item(item, undefined=undefined) for item in items)
        if not undefined:
            return self._head(tag, "SQ", len(content)) + content
        return self._head(tag, "SQ", UNDEFINED) + content + self._mark(0xE0DD, 0)

    def _item(self, content: bytes, *, undefined: bool) -> bytes:
        if not undefined:
            return self._mark(0xE000, len(content)) + content
        return self._mark(0xE000, UNDEFINED) + content + self._mark(0xE00D, 0)

    def _mark(self, element: int, length: int) -> bytes:
        return struct.pack(f"{self._order}HHL", 0xFFFE, element, length)

    def _head(self, tag: int, vr: str, length: int) -> bytes:
        start = struct.pack(f"{self._order}HH", tag >> 16, tag & 0xFFFF)
        if self.syntax.is_implicit_VR:
            return start + struct.pack(f"{self._order}L", length)
        return (
            start
            + vr.encode()
            + struct.pack(f"{self._order}{'HL' if vr in LONG else 'H'}", *([0] if vr in LONG else []), length)
        )


def as_file(dataset: bytes, syntax: UID, person: Person) -> bytes:
    """A Part 10 file with the person in its preamble and in its file meta information."""
    meta = [
        (0x00020001, b"OB\0\0" + struct.pack("<L", 2) + b"\0\1"),
        (0x00020002, _short(b"UI", ComputedRadiographyImageStorage.encode())),
        (0x00020003, _short(b"UI", f"{ROOT}.{person.patient_id}.9".encode())),
        (0x00020010, _short(b"UI", syntax.encode())),
        (0x00020012, _short(b"UI", ROOT.encode())),
        (0x00020016, _short(b"AE", b"ZWYRTEK")),
        (0x00020100, _short(b"UI", ROOT.encode())),
        (0x00020102, b"OB\0\0" + struct.pack("<L", 16) + person.value("PN")[:16].ljust(16, b"\0")),
    ]
    group = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) + rest for tag, rest in meta)
    length = struct.pack("<HH", 2, 0) + b"UL" + struct.pack("<HL", 4, len(group))
    return person.value("LO")[:128].ljust(128, b"\0") + b"DICM" + length + group + dataset


def _short(vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return vr + struct.pack("<H", len(value)) + value


#: Without these, or with others in their place, an object is none, or its pixels are others.
SPARED = {
    "SOPClassUID",
    "SpecificCharacterSet",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Modality",
}


def planted_in(content: bytes, person: Person, number: int) -> tuple[bytes, int]:
    """The data set of a file with the person in every text element that it has, at any depth; and in how many."""
    file = dcmread(BytesIO(content), force=True)
    syntax = UID(file.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian))
    if not file.original_encoding[0]:
        syntax = syntax if not syntax.is_implicit_VR else ExplicitVRLittleEndian
    dataset = Dataset({element.tag: element for element in file if element.tag.group >= 8})
    count = _plant(dataset, person)
    dataset.SpecificCharacterSet = person.character_set
    dataset.PatientName, dataset.PatientID = person.name, person.patient_id
    dataset.AccessionNumber, dataset.PatientBirthDate = person.accession_number, person.birth_date
    for keyword, level in (("StudyInstanceUID", 1), ("SeriesInstanceUID", 2), ("SOPInstanceUID", 3)):
        setattr(dataset, keyword, f"{ROOT}.{person.patient_id}.7.{number}.{level}")
    implicit_vr, little_endian = file.original_encoding
    dataset.set_original_encoding(implicit_vr, little_endian, person.codec)
    body = DicomBytesIO()
    body.is_implicit_VR, body.is_little_endian = implicit_vr, little_endian
    write_dataset(body, dataset)
    encoded = body.getvalue()
    if syntax in dicom_object.INFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        encoded = deflater.compress(encoded) + deflater.flush()
    return as_file(encoded, syntax, person), count + 7


def _plant(dataset: Dataset, person: Person) -> int:
    count = 0
    for element in list(dataset):
        if element.VR == "SQ":
            count += sum(_plant(item, person) for item in element.value or [])
        elif element.keyword not in SPARED and element.tag.group < 0x7FE0 and (planted := _value(element, person)):
            dataset[element.tag] = DataElement(element.tag, element.VR, planted)
            count += 1
    block = dataset.private_block(0x0029, "ZWYRTEK MEDICAL", create=True)
    for number, vr in enumerate(("LO", "PN", "UN", "OB")):
        value = person.value(vr)
        block.add_new(number, vr, value if vr in {"UN", "OB"} else person.name)
    block.add_new(0x10, "SQ", Items([]))
    return count + 4


def _value(element: DataElement, person: Person) -> str | bytes | None:
    if element.VR in {"OB", "UN"}:
        value = person.value(element.VR)
        return value + b"\0" * (len(value) % 2)
    if element.VR in {"PN", "LO", "SH", "LT", "ST", "UT", "UC"}:
        return person.name if element.VR == "PN" else f"{person.name} {person.patient_id}"
    if element.VR in {"AE", "CS", "DA", "DT", "TM", "UI", "UR", "AS"}:
        return person.value(element.VR).decode()
    return None


def found(needles: Iterable[bytes], content: bytes) -> Iterator[bytes]:
    """Which of the needles stand in `content`, whatever their case."""
    lowered = content.lower()
    return (needle for needle in needles if needle in lowered)
