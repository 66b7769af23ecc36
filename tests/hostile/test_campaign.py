"""The adapters under attack: they stay up, within their memory, and no good object is lost.

`RADIOLOG_HOSTILE=full` makes it ten thousand and prints what became of each kind.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from radiolog.settings import Settings
from tests.conftest import World
from tests.hostile.attackers import Attacker, Fate
from tests.hostile.campaign import Account, Campaign, rendered
from tests.hostile.elements import Elements
from tests.hostile.objects import Thing
from tests.hostile.planted import CRASH, RAISE
from tests.hostile.victims import CAP_BYTES, Watch, victims

FULL = os.environ.get("RADIOLOG_HOSTILE") == "full"
SIZE, FILES, HELD = (11_000, 500, 8) if FULL else (260, 20, 4)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600 if FULL else 300)]


def test_everything_hostile_ends_and_everything_good_arrives(
    attacked_site: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say = said(capsys)
    with victims(attacked_site, tmp_path) as attacked:
        account = Campaign(attacked, tmp_path, SIZE, FILES, HELD).run(say)
        account.troubles += [f"exit code {code} after SIGTERM" for code in attacked.stop() if code]
    say(rendered(account.rows))
    say(summary(account))
    assert not account.troubles
    assert account.good


def said(capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """What says something, past pytest, where the campaign is long."""

    def say(what: object) -> None:
        if FULL:
            with capsys.disabled():
                Console(width=140).print(what, markup=False, highlight=False)

    return say


def summary(account: Account) -> str:
    peaks = ", ".join(f"{role} {peak >> 20} MiB" for role, peak in sorted(account.peaks.items()))
    good = f"{account.good}, {account.repeated} times sent again, the slowest {account.slowest_good:.1f} s"
    lines = [
        f"peak memory: {peaks}; the cap is {CAP_BYTES >> 20} MiB a process",
        f"good objects meanwhile: {good}",
        *(account.troubles or ["nothing lost, nothing crashed, nothing quoted"]),
    ]
    return "\n".join(lines)


def test_it_would_tell(attacked_site: Settings, tmp_path: Path) -> None:
    """Of a fault that the adapter answers for, and of one that kills it."""
    entry = ("-m", "tests.hostile.planted")
    with victims(attacked_site, tmp_path, entry, stages=False, dicom_acceptors="1") as attacked:
        watch = Watch(attacked.adapters)
        attacker = Attacker(attacked.dicom_port, attacked.stow_port, "127.0.0.9")
        assert attacker.store(_planted(RAISE)).fate is Fate.INTERNAL
        assert attacker.post(_planted(RAISE)).fate is Fate.INTERNAL
        assert len(attacked.faults()) == 2
        assert attacker.store(_planted(CRASH)).fate is Fate.REFUSED
        World.until(lambda: watch.gone == ["dicom"])
        watch.end()


def _planted(fault: bytes) -> Thing:
    elements = Elements()
    return Thing("planted", elements.image({0x00080060: elements.element(0x00080060, "CS", fault)}), elements.syntax)
