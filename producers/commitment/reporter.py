"""Tells devices what was decided (PS3.4 section J.3.3, PS3.7 section 10.1.1).

The report goes out on an association that the adapter asks for. Whoever asks for one is its SCU unless it negotiates
otherwise; the adapter says by role selection that it is the SCP (PS3.7 section D.3.3.4).
"""

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

import structlog
from pynetdicom import build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance  # type: ignore

from producers.association import application_entity
from producers.commitment.acceptance import context
from producers.commitment.journal import Entry, Journal
from producers.commitment.report import CommitmentReport
from producers.commitment.statuses import ActionStatus
from radiolog.log.metrics import CommitmentMetrics
from radiolog.settings import Address

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
GIVE_UP_SECONDS: Final = 72 * 3600.0
"""A weekend: so long after it asked a device is told, if it answers."""
_PASSING: Final = {ActionStatus.PROCESSING_FAILURE, ActionStatus.RESOURCE_LIMITATION}

log = structlog.get_logger()


class Outcome(Enum):
    """How an attempt to report ended."""

    DELIVERED = auto()
    """The device has taken it."""
    FAILED = auto()
    """The device was not there, or had trouble: it is tried again."""
    REFUSED = auto()
    """The device wants none of it, as when it does not know the transaction any more: it is not tried again."""
    GIVEN_UP = auto()
    """It was tried for long enough."""


class Reporter:
    """Reports to one device, one visit at a time.

    Args:
        peer: AE title of the device.
        address: Where it listens; None if the settings do not say any more.
        ae_title: Of the adapter.
        security: TLS, or None for none.
        journal: The requests.
        metrics: Where it counts.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        peer: str,
        address: Address | None,
        ae_title: str,
        security: ssl.SSLContext | None,
        journal: Journal,
        metrics: CommitmentMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._peer = peer
        self._address = address
        self._ae_title = ae_title
        self._security = security
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._talking: Association | None = None

    def visit(self) -> bool:
        """Reports whatever can be reported; whether nothing is left to be tried again.

        Raises:
            sqlite3.Error, OSError: the journal can't be read or written.
        """
        entries = self._journal.decided(self._peer)
        done = True
        with self._association() as association:
            if association is None:
                log.warning("device not told of commitment", peer=self._peer, requests=len(entries))
            for number in entries:
                if (entry := self._journal.entry(number)) is not None:
                    done &= self._settle(entry, _told(association, entry))
        return done

    def abort(self) -> None:
        """Ends the visit that is under way: what was not answered goes out again another time."""
        if (association := self._talking) is not None:
            association.abort()

    def _settle(self, entry: Entry, outcome: Outcome) -> bool:
        """Strikes a request off if it is done with; whether it is."""
        if outcome is Outcome.FAILED and self._clock() - entry.received_at > GIVE_UP_SECONDS:
            outcome = Outcome.GIVEN_UP
        word = outcome.name.lower()
        self._metrics.reports.labels(word).inc()
        if outcome is Outcome.FAILED:
            return False
        level = logging.INFO if outcome is Outcome.DELIVERED else logging.WARNING
        log.log(level, f"commitment {word}", peer=self._peer, request=entry.id, objects=len(entry.reasons))
        self._journal.strike(entry.id)
        return True

    @contextmanager
    def _association(self) -> Iterator[Association | None]:
        """An association with the device, or None where there is none to be had."""
        self._talking = association = self._associate() if self._address is not None else None
        try:
            yield association
        finally:
            self._talking = None
            if association is not None and association.is_established:
                association.release()

    def _associate(self) -> Association | None:
        assert self._address is not None  # noqa: S101
        host, port = self._address
        entity = application_entity(self._ae_title)
        entity.connection_timeout = entity.acse_timeout = CONNECT_SECONDS
        entity.dimse_timeout = ANSWER_SECONDS
        association = entity.associate(
            host,
            port,
            contexts=[context()],
            ae_title=self._peer,
            ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
            tls_args=(self._security, host) if self._security is not None else None,
        )
        return association if association.is_established else None


def _told(association: Association | None, entry: Entry) -> Outcome:
    if association is None or not association.is_established:
        return Outcome.FAILED
    report = CommitmentReport.of(entry)
    try:
        answer, _ = association.send_n_event_report(
            report.information, report.event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (ValueError, RuntimeError):  # it takes no such reports now, or it has just gone
        return Outcome.FAILED
    status = answer.get("Status")
    if status is None or status in _PASSING:
        return Outcome.FAILED
    return Outcome.DELIVERED if status == ActionStatus.SUCCESS else Outcome.REFUSED
