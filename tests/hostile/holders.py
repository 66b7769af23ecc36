"""Who holds connections to both ports and lets bytes trickle, and who holds associations and says nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

from tests.hostile import pdus, requests
from tests.hostile.victims import TOKEN
from tests.hostile.wire import RQ, pdu, request

PAUSE_SECONDS = 0.5
KINDS = ("slow DICOM", "slow HTTP head", "slow HTTP body", "endless association")


class Holders:
    """Keeps up `each` connections of each kind for as long as the context lasts."""

    def __init__(self, dicom_port: int, stow_port: int, each: int) -> None:
        self._ports = {"DICOM": dicom_port, "HTTP": stow_port}
        self._each = each
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holders", daemon=True)
        self._held: list[tuple[str, Iterator[bytes], socket.socket]] = []
        self.tried: dict[str, int] = {}
        self.ended: dict[str, int] = {}

    def __enter__(self) -> "Holders":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        for _, _, connection in self._held:
            connection.close()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            self._fill()
            self._trickle()

    def _fill(self) -> None:
        for kind in KINDS:
            missing = self._each - sum(one[0] == kind for one in self._held)
            for _ in range(missing):
                self._open(kind)

    def _trickle(self) -> None:
        """One more byte on each; those that were ended are counted."""
        still = []
        for kind, content, connection in self._held:
            try:
                if (byte := next(content, None)) is not None:
                    connection.send(byte)
                with suppress(BlockingIOError):
                    if not connection.recv(4096):
                        raise ConnectionError
                still.append((kind, content, connection))
            except OSError:
                connection.close()
                self.ended[kind] = self.ended.get(kind, 0) + 1
        self._held = still

    def _open(self, kind: str) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        source = {"slow DICOM": "127.0.0.3", "endless association": "127.0.0.4"}.get(kind, "127.0.0.5")
        port = self._ports["HTTP" if "HTTP" in kind else "DICOM"]
        wanted = pdu(RQ, request(pdus.CONTEXT))
        head = requests.head(Content_Length="1000000", token=TOKEN)
        try:
            connection = socket.create_connection(("127.0.0.1", port), 5, (source, 0))
            if kind == "endless association":
                connection.sendall(wanted)
            if kind == "slow HTTP body":
                connection.sendall(head)
        except OSError:
            self.ended[kind] = self.ended.get(kind, 0) + 1
            return
        connection.setblocking(False)
        body = requests.part(bytes(100_000))
        content = {"slow DICOM": wanted, "slow HTTP head": head, "slow HTTP body": body}.get(kind, b"")
        self._held.append((kind, (content[at : at + 1] for at in range(len(content))), connection))
