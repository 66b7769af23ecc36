"""A device that asks for storage commitment and listens for the report (PS3.4 section J.3), by pynetdicom."""

import queue
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from pynetdicom.transport import ThreadedAssociationServer

Reference = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""


@dataclass(frozen=True)
class Report:
    """What an N-EVENT-REPORT said."""

    event_type: int
    transaction: str
    committed: list[Reference]
    failed: dict[Reference, int]
    calling: str
    roles: dict[str, tuple[bool, bool]]
    keys: set[str]


@dataclass
class Scu:
    """Asks in its AE title, and answers to reports with `status`, until it is told something else."""

    title: str = "CT_1"
    status: int = 0x0000
    reports: "queue.Queue[Report]" = field(default_factory=queue.Queue)
    port: int = 0

    def ask(self, port: int, objects: Iterable[Reference], transaction: str | None = None) -> tuple[int, str, str]:
        """The answer's status and comment, and the Transaction UID."""
        transaction = transaction or generate_uid()
        status, comment = self.act(port, information_of(transaction, objects))
        return status, comment, transaction

    def act(
        self,
        port: int,
        information: Dataset | None,
        action: int = 1,
        instance: str = StorageCommitmentPushModelInstance,
        called: str = "RADIOLOG",
    ) -> tuple[int, str]:
        contexts = [build_context(StorageCommitmentPushModel)]
        association = AE(self.title).associate("127.0.0.1", port, contexts, ae_title=called)
        assert association.is_established
        answer, _ = association.send_n_action(information, action, StorageCommitmentPushModel, instance)
        association.release()
        return answer.Status, str(answer.get("ErrorComment") or "")

    def report(self, seconds: float = 60.0) -> Report:
        return self.reports.get(timeout=seconds)

    @contextmanager
    def listening(self, port: int = 0, **options: Any) -> Iterator["Scu"]:
        entity = AE(self.title)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        server = entity.start_server(
            ("127.0.0.1", port or self.port),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._on_report)],
            **options,
        )
        assert isinstance(server, ThreadedAssociationServer)
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            server.shutdown()

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        information = event.event_information
        requestor = event.assoc.requestor
        self.reports.put(
            Report(
                event.event_type,
                information.TransactionUID,
                [_reference(item) for item in information.get("ReferencedSOPSequence", [])],
                {_reference(item): item.FailureReason for item in information.get("FailedSOPSequence", [])},
                requestor.ae_title,
                {uid: (item.scu_role, item.scp_role) for uid, item in requestor.role_selection.items()},
                {element.keyword for element in information},
            )
        )
        return self.status, None


def information_of(transaction: str, objects: Iterable[Reference]) -> Dataset:
    """Action Information."""
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = [_item(*each) for each in objects]
    return information


def references(datasets: Sequence[Dataset]) -> list[Reference]:
    return [(each.SOPClassUID, each.SOPInstanceUID) for each in datasets]


def _item(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def _reference(item: Dataset) -> Reference:
    return item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID
