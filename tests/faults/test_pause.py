"""A process stands still for longer than its session, and then goes on: its late writes must not land.

Its work goes to another instance, or to a second process of the same name. It is paused in the middle of a batch: what
it writes when it goes on is what the log (KIP-447) and the sink's positions have to refuse, and its log has to say so.
"""

import signal
import time

from radiolog.log.transactions import HUNG_EXIT_CODE
from tests.faults.fleet import STAGES, Instance
from tests.faults.trial import FULL, Trial, full_or

SESSION_SECONDS = 6
PAUSED_SECONDS = full_or(SESSION_SECONDS + 2, 60)
BURST = 300
PAUSES = 3
"""At most, in the short version: one that met a batch in hand is enough."""
REFUSED = ("batch will be repeated", "another instance was here", "fenced", "taken away during work")


def refusals(instance: Instance) -> int:
    return sum(instance.log().lower().count(word) for word in REFUSED)


def pause(run: Trial) -> None:
    """SIGSTOP for the first instance of each stage, when all have work."""
    run.load.publish(BURST)
    run.until(lambda: all(run.backlog(stage) for stage in STAGES), "work for each stage")
    for stage in STAGES:
        run.fleet[stage].signal(signal.SIGSTOP)


def test_others_take_over_from_a_paused_instance(trial):
    run = trial(decode_workers=1)
    run.load.publish(full_or(300, 2000))
    run.fleet.start()
    run.fleet.start(ordinal=1)
    fenced = dict.fromkeys(STAGES, 0)
    for _ in range(PAUSES):
        before = {stage: refusals(run.fleet[stage]) for stage in STAGES}
        with run.load.streaming(per_second=full_or(60, 40)):
            run.await_results(60, "sink")
            pause(run)
            time.sleep(PAUSED_SECONDS)  # the length of the fault
            run.strike(lambda: [run.fleet[stage].signal(signal.SIGCONT) for stage in STAGES])
            run.await_results(200, "sink")
        for stage in STAGES:
            fenced[stage] += refusals(run.fleet[stage]) > before[stage]
        if not FULL and any(fenced.values()):
            break
    assert any(fenced.values()), "no pause met a batch in hand"
    counts = ", ".join(f"{stage} {count}" for stage, count in fenced.items())
    run.finish(6, f"SIGSTOP for {PAUSED_SECONDS} s, others take over", f"late writes refused: {counts}")


def test_a_successor_of_the_same_name_takes_over(trial):
    run = trial(decode_workers=1)
    run.load.publish(full_or(300, 2000))
    run.fleet.start()
    with run.load.streaming(per_second=full_or(60, 40)):
        run.await_results(60, "sink")
        zombies = [run.fleet[stage] for stage in STAGES]
        pause(run)
        for stage in STAGES:
            assert run.fleet.successor(stage).await_ready()
        run.await_results(100, "sink")
        time.sleep(full_or(0, PAUSED_SECONDS))
        run.strike(lambda: [zombie.signal(signal.SIGCONT) for zombie in zombies])
        for zombie in zombies:
            # After a long pause its own watchdog may be the first to see that a call took too long.
            assert zombie.reaped() in (1, HUNG_EXIT_CODE), "a process whose name another has must end"
            assert "fenced" in zombie.log().lower() or "does not come back" in zombie.log()
    run.finish(6, "SIGSTOP, a successor of the same name")
