"""What the stack knows of each server, whichever it is."""

from collections.abc import Callable
from typing import Protocol

from radiolog.stack.process import ServerProcess


class Server(Protocol):
    """A server of the stack; `launch` only starts it, `is_ready` tells when it answers."""

    @property
    def process(self) -> ServerProcess:
        """Its process, running or not."""

    @property
    def address(self) -> str:
        """Where it is reached, without any secret."""

    @property
    def needs(self) -> tuple["Server", ...]:
        """Servers that must be ready before this one is launched."""

    def launch(self, progress: Callable[[str], None]) -> None:
        """Prepare what the server needs on its first start, then start it.

        Raises:
            StackError: it could not be prepared or executed.
        """

    def is_ready(self) -> bool:
        """Whether a client gets an answer now; never raises and returns within a few seconds."""
