"""What became of a request: the status (PS3.18 table 10.5.3-1) and the Store Instances Response Module (Annex I).

| stored | status |
|---|---|
| all | 200 |
| some | 202, whatever stopped the others; the module tells which, and why |
| none | what stopped them, where it was one and the same: 413, 415, 500; 409 where the objects were at fault |
| none | 503 if the log stopped any of them: sending again will help |
| none, and the request is malformed, too slow or too large | 400, 408, 413 |
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from xml.etree import ElementTree

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement

from producers.statuses import StoreStatus
from producers.stow.faults import RequestFault
from producers.stow.instance import Failed, Outcome, SentUids, Stored
from producers.stow.media_types import ReportType

NATIVE_DICOM_MODEL = "http://dicom.nema.org/PS3.19/models/NativeDICOM"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of each instance, in the order sent, and of the request."""

    outcomes: Sequence[Outcome]
    fault: RequestFault | None = None

    @property
    def failures(self) -> list[Failed]:
        """The instances that the log has not."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Failed)]

    @property
    def stored(self) -> list[Stored]:
        """The instances that the log has."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Stored)]

    @property
    def status(self) -> HTTPStatus:
        """Of the response."""
        if self.stored:
            return HTTPStatus.ACCEPTED if self.failures or self.fault else HTTPStatus.OK
        statuses = {failure.status for failure in self.failures}
        if HTTPStatus.SERVICE_UNAVAILABLE in statuses:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if self.fault is not None:
            return self.fault.status
        if not statuses:
            return HTTPStatus.BAD_REQUEST
        return statuses.pop() if len(statuses) == 1 else HTTPStatus.CONFLICT

    @property
    def message(self) -> str:
        """What went wrong first, for a person; "" if nothing did."""
        messages = [failure.message for failure in self.failures] + ([str(self.fault)] if self.fault else [])
        if not self.outcomes and not messages:
            return "the body holds no instance"
        return next(iter(messages), "")

    def module(self) -> Dataset:
        """The Store Instances Response Module; Retrieve URL is empty, as nothing is retrieved from here."""
        module = Dataset()
        module.RetrieveURL = None
        nameless = [failure.reason for failure in self.failures if failure.uids is None]
        if self.fault is not None:
            nameless.append(self.fault.reason)
        sequences = {
            "FailedSOPSequence": [_failed(one.uids, one.reason) for one in self.failures if one.uids is not None],
            "ReferencedSOPSequence": [_stored(one.uids) for one in self.stored],
            "OtherFailuresSequence": [_reason(reason) for reason in nameless],
        }
        for keyword, items in sequences.items():
            if items:
                setattr(module, keyword, items)
        return module

    def written(self, kind: ReportType) -> bytes:
        """The module as `kind`."""
        module = self.module()
        if kind is ReportType.JSON:
            return json.dumps(module.to_json_dict()).encode()
        return native_dicom_model(module)


def native_dicom_model(dataset: Dataset) -> bytes:
    """A data set of text, numbers and sequences as XML (PS3.19 section A.1)."""
    root = ElementTree.Element("NativeDicomModel", {"xmlns": NATIVE_DICOM_MODEL, "xml:space": "preserve"})
    _append(root, dataset)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _append(parent: ElementTree.Element, dataset: Iterable[DataElement]) -> None:
    for element in dataset:
        attributes = {"tag": f"{element.tag:08X}", "vr": element.VR, "keyword": keyword_for_tag(element.tag)}
        node = ElementTree.SubElement(parent, "DicomAttribute", attributes)
        if element.VR == "SQ":
            for number, item in enumerate(element.value, 1):
                _append(ElementTree.SubElement(node, "Item", number=str(number)), item)
        elif element.value not in (None, ""):
            ElementTree.SubElement(node, "Value", number="1").text = str(element.value)


def _stored(uids: SentUids) -> Dataset:
    item = _reference(uids)
    item.RetrieveURL = None
    return item


def _failed(uids: SentUids, reason: StoreStatus) -> Dataset:
    item = _reference(uids)
    item.FailureReason = int(reason)
    return item


def _reason(reason: StoreStatus) -> Dataset:
    item = Dataset()
    item.FailureReason = int(reason)
    return item


def _reference(uids: SentUids) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = uids.sop_class
    item.ReferencedSOPInstanceUID = uids.sop_instance
    return item
