"""`radiolog` with a fault planted: an object whose modality says so crashes the process that parses it.

`python -m tests.hostile.planted adapter dicom` is the command itself; the suite runs it to see that it would tell.
"""

import os
import signal
from uuid import UUID

from producers.intake import Intake, ReceivedObject

CRASH, RAISE = b"PLANTEDCRASH", b"PLANTEDRAISE"

accept = Intake.accept


def sabotaged(self: Intake, received: ReceivedObject) -> UUID:
    if CRASH in received.dataset:
        os.kill(os.getpid(), signal.SIGSEGV)
    if RAISE in received.dataset:
        raise RuntimeError
    return accept(self, received)


if __name__ == "__main__":
    from radiolog.cli import main

    Intake.accept = sabotaged  # type: ignore[method-assign]
    main()
