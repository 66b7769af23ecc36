"""`radiolog` with a decoder that does what a poisoned object asks for: only the suite runs it.

`python -m tests.faults.poison run preprocess` is the command itself; nothing but the function that its decode processes
run is another.
"""

import ctypes
import os
import signal

from radiolog.log.objects import StoredObject
from stream_processors import decoding
from stream_processors.decoding import Job, Result

MARK = b"POISON:"
POISONS = {
    "raises": "decoder_raised",
    "hangs": "decoder_timed_out",
    "crashes": "decoder_crashed",
    "eats": "decoder_out_of_memory",
}
"""What a decoder does, and the cause that its dead letter must name."""

decoded = decoding.run


def run(job: Job) -> Result:
    payload = b"" if isinstance(job.payload, StoredObject) else bytes(job.payload)
    if payload.startswith(MARK):
        act(payload.removeprefix(MARK).decode())
    return decoded(job)


def act(poison: str) -> None:
    match poison:
        case "raises":
            raise RuntimeError
        case "hangs":
            ctypes.PyDLL(None).sleep(3600)  # as native code does that never lets go of the interpreter's lock
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "eats":
            eaten = []
            while True:
                eaten.append(bytearray(b"x") * (64 << 20))


if __name__ == "__main__":
    from radiolog.cli import main
    from tests.faults import poison

    decoding.run = poison.run
    main()
