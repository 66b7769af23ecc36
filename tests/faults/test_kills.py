"""SIGKILL of each stage at random, again and again, while it has work."""

import random
import threading
import time

from tests.faults.fleet import STAGES, Instance
from tests.faults.load import LARGE
from tests.faults.trial import Trial, full_or

KILLS = full_or(3, 60)
"""Of each stage, at most; then it may finish."""


def reap(trial: Trial, instance: Instance, moments: random.Random, killed: list[str]) -> None:
    """Kills the instance 0.1 to 1 s after it is ready, while it has work."""
    for _ in range(KILLS):
        if not instance.await_ready():
            return
        time.sleep(moments.uniform(0.1, 1.0))
        trial.until(lambda: trial.backlog(instance.stage) or not work_left(trial), "work for the next kill")
        if not trial.backlog(instance.stage):
            return
        ended = instance.kill()
        instance.start()
        killed.append(instance.stage)
        trial.hit(ended, instance.stage)


def work_left(trial: Trial) -> bool:
    return any(trial.backlog(stage) for stage in STAGES)


def test_each_stage_is_killed_at_random(trial):
    run = trial()
    run.load.publish(full_or(400, 5000))
    run.load.publish(full_or(8, 200), LARGE)
    killed: list[str] = []
    reapers = [
        threading.Thread(target=reap, args=(run, instance, random.Random(number), killed))
        for number, instance in enumerate(run.fleet.start(wait=False))
    ]
    for reaper in reapers:
        reaper.start()
    for reaper in reapers:
        reaper.join()
    assert set(killed) == set(STAGES)
    counts = ", ".join(f"{stage} {killed.count(stage)}" for stage in STAGES)
    run.finish(1, "SIGKILL of every stage", f"kills: {counts}")
