"""More instances of every stage join, and some leave again, while images come in."""

from tests.faults.fleet import STAGES
from tests.faults.trial import FULL, Trial, full_or

PER_SECOND = full_or(40, 60)
BURST = full_or(100, 300)
"""So that there is work at the moment of the change."""


def work_of(run: Trial) -> dict[tuple[str, int], int]:
    """How many records each instance has settled so far."""
    logs = {key: instance.log() for key, instance in run.fleet.instances.items()}
    return {key: text.count('"processed"') + text.count('"stored"') for key, text in logs.items()}


def test_from_one_to_four_to_two_instances(trial):
    run = trial(decode_workers=1, partitions=8)
    run.load.publish(full_or(200, 2000))
    run.fleet.start()
    with run.load.streaming(PER_SECOND):
        for _ in range(full_or(1, 3)):
            run.load.publish(BURST)
            run.strike(lambda: [run.fleet.start(ordinal=ordinal, wait=False) for ordinal in (1, 2, 3)])
            before = work_of(run)
            run.until(lambda before=before: all(n > before[key] for key, n in work_of(run).items()), "all at work")
            for ordinals in [(3,), (2,)] if FULL else [(3, 2)]:
                leaving = [run.fleet.instances[stage, ordinal] for stage in STAGES for ordinal in ordinals]
                run.load.publish(BURST)
                run.strike(lambda leaving=leaving: [instance.stop() for instance in leaving])
            run.await_results(full_or(100, 1000), "sink")
    run.finish(2, "1 to 4 to 2 instances of each stage")
