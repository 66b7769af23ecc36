import threading

import pytest

from producers.association import Checkpoint


class Paused:
    """As much of an association as the checkpoint knows."""

    _is_paused = True


def test_who_closes_it_at_the_last_moment_is_not_told_that_the_thread_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    association, seen = Paused(), []
    checkpoint = Checkpoint(association)  # type: ignore[arg-type]

    def wait(event: threading.Event, _timeout: float | None = None) -> bool:
        seen.append(association._is_paused)
        event.clear() if len(seen) == 1 else event.set()  # the first time it is closed while the thread goes through
        return True

    monkeypatch.setattr(threading.Event, "wait", wait)
    assert checkpoint.wait()
    assert seen == [True, True], "it stood still again"
    assert not association._is_paused
