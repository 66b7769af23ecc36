"""`radiolog` with a fault planted: an object whose modality says so crashes the process that parses it.

`python -m tests.hostile.planted adapter dicom` is the command itself; the suite runs it to see that it would tell.
"""

import os
import signal
from uuid import UUID

from producers.intake import Intake, OpenedObject

CRASH, RAISE = b"PLANTEDCRASH", b"PLANTEDRAISE"

publish = Intake.publish


def sabotaged(self: Intake, opened: OpenedObject) -> UUID:
    if CRASH in opened.received.dataset:
        os.kill(os.getpid(), signal.SIGSEGV)
    if RAISE in opened.received.dataset:
        raise RuntimeError
    return publish(self, opened)


if __name__ == "__main__":
    from radiolog.cli import main

    Intake.publish = sabotaged  # type: ignore[method-assign]
    main()
