"""How an object that did not get onto the log is answered, over C-STORE and STOW-RS alike."""

from producers.errors import Refused, TooLarge, WrongSopClass
from producers.statuses import StoreStatus
from radiolog.log.errors import LogError
from radiolog.log.objects import ObjectStoreUnavailable


class TooMuchAtOnce(Exception):
    """Devices send more at this moment than the adapter may hold."""


def refusal(error: Exception) -> tuple[StoreStatus, str]:
    """The status that `error` stands for (PS3.4 table B.2-1), and a comment for the person at the device."""
    match error:
        case TooLarge():
            return StoreStatus.TOO_LARGE, str(error)
        case WrongSopClass():
            return StoreStatus.SOP_CLASS_MISMATCH, str(error)
        case Refused():
            return StoreStatus.CANNOT_UNDERSTAND, str(error)
        case TooMuchAtOnce():
            return StoreStatus.OUT_OF_RESOURCES, "too much is being sent at once; send the object again"
        case ObjectStoreUnavailable():
            return StoreStatus.OUT_OF_RESOURCES, "the object store takes nothing now; keep the object"
        case LogError():
            return StoreStatus.OUT_OF_RESOURCES, "the log does not answer; keep the object, send it again"
    # A fault of ours. Its message might quote the object, so only its kind is told.
    return StoreStatus.CANNOT_UNDERSTAND, f"internal error ({type(error).__name__})"
