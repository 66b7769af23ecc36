"""Why a request as a whole fails; what is wrong with one of its instances is `producers.errors`."""

from http import HTTPStatus

from producers.statuses import StoreStatus


class RequestFault(Exception):
    """The rest of the request is not read; the message is for the person at the client, and quotes nothing of it.

    Attributes:
        status: of the answer, unless instances were stored before.
        reason: Failure Reason (0008,1197) of what was not read, where others were stored.
    """

    def __init__(self, status: HTTPStatus, message: str, reason: StoreStatus = StoreStatus.CANNOT_UNDERSTAND) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
