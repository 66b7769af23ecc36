"""How stages come back after the only broker has gone: many of them at once, to compare versions of the client library.

    .venv/bin/python -m tests.faults.returns --sites 5 --rounds 12

Each site has a preprocess stage of its own on the same broker, which is stopped or killed again and again while images
come in. Each round tells the seconds from the broker's return until each stage had caught up, and with which codes
their processes ended by themselves: 70 says that a call of the library did not come back.
"""

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import libversion

from radiolog.stack.kafka import KafkaServer
from tests import sites
from tests.faults.servers import OwnServers
from tests.faults.trial import Trial

STAGE = "preprocess"
BURST, TRICKLE, TRICKLE_SECONDS = 60, 4, 0.5
CAUGHT_UP = 30
"""Records that may wait, since more keep coming."""
PATIENCE_SECONDS = 150.0


@contextmanager
def trials(count: int, servers: OwnServers, folder: Path) -> Iterator[list[Trial]]:
    """Sites with a stage each, and a trickle of images, until the block ends."""
    made: list[Trial] = []
    try:
        for number in range(count):
            home = folder / f"site-{number}"
            home.mkdir()
            settings = sites.bare(sites.at(servers.up(), state_dir=home / "state", partitions=4, decode_workers=1))
            made.append(Trial(sites.equipped(settings), servers, home))
            made[-1].fleet.start(STAGE)
        over = threading.Event()
        threads = [threading.Thread(target=trickle, args=(trial, over)) for trial in made]
        for thread in threads:
            thread.start()
        try:
            yield made
        finally:
            over.set()
            for thread in threads:
                thread.join()
    finally:
        for trial in made:
            trial.close()


def trickle(trial: Trial, over: threading.Event) -> None:
    while not over.wait(TRICKLE_SECONDS):
        trial.load.publish(TRICKLE)


def caught_up(running: Sequence[Trial]) -> list[float | None]:
    """Seconds until each stage had caught up; None for one that did not."""
    began, took = time.monotonic(), [None] * len(running)
    poll = threading.Event()
    while None in took and time.monotonic() - began < PATIENCE_SECONDS:
        for number, trial in enumerate(running):
            if took[number] is None and trial.backlog(STAGE) < CAUGHT_UP:
                took[number] = time.monotonic() - began
        poll.wait(0.1)
    return took


def told(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    draw = random.Random(wanted.seed)
    folder = Path(tempfile.mkdtemp(prefix="radiolog-returns-"))
    folder.chmod(0o755)  # PostgreSQL runs as `nobody` when this runs as root
    print(f"librdkafka {libversion()[0]}; stages write their logs under {folder}", flush=True)
    times, codes = [], []
    with OwnServers(folder / "stack") as servers, trials(wanted.sites, servers, folder) as running:
        for _ in range(wanted.rounds):
            for trial in running:
                trial.load.publish(BURST)
            way = draw.choice(["stop", "kill"])
            getattr(servers, way)(KafkaServer)
            servers.up()
            took = caught_up(running)
            ended = [code for trial in running for code in trial.fleet[STAGE].exits]
            for trial in running:
                trial.fleet[STAGE].exits.clear()
            times += took
            codes += ended
            print(f"{way}: {', '.join(map(told, took))}; ended with {ended or 'none'}", flush=True)
    known = sorted(seconds for seconds in times if seconds is not None)
    print(
        f"{len(times)} returns: half within {known[len(known) // 2]:.1f} s, the longest {known[-1]:.1f} s, "
        f"{times.count(None)} never; {codes.count(70)} ended with 70, {len(codes) - codes.count(70)} with another code"
    )


if __name__ == "__main__":
    main()
