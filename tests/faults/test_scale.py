"""More instances of every stage join, and some leave again, while images come in."""

from tests.faults.fleet import STAGES
from tests.faults.trial import Trial, full_or

PER_SECOND = full_or(40, 60)


def works(run: Trial, stage: str, ordinal: int) -> bool:
    """Whether the instance has got partitions and done some of the work."""
    return any(word in run.fleet.instances[stage, ordinal].log() for word in ('"processed"', '"stored"'))


def test_from_one_to_four_to_two_instances(trial):
    run = trial(decode_workers=1, partitions=8)
    run.load.publish(full_or(200, 2000))
    run.fleet.start()
    with run.load.streaming(PER_SECOND):
        for _ in range(full_or(1, 3)):
            run.strike(lambda: [run.fleet.start(ordinal=ordinal, wait=False) for ordinal in (1, 2, 3)])
            for stage in STAGES:
                run.until(lambda stage=stage: all(works(run, stage, ordinal) for ordinal in range(4)), "four at work")
            for ordinal in (3, 2):
                leaving = [run.fleet.instances[stage, ordinal] for stage in STAGES]
                run.strike(lambda leaving=leaving: [instance.stop() for instance in leaving])
            run.await_results(full_or(100, 1000), "sink")
    run.finish(2, "1 to 4 to 2 instances of each stage")
