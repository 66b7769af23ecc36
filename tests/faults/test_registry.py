"""The Schema Registry is down when the stages start, and while they run."""

from radiolog.stack.registry import RegistryServer
from tests.faults.fleet import STAGES
from tests.faults.trial import FULL, full_or

IMAGES = full_or(150, 1000)


def test_the_registry_is_down(trial, own_servers):
    run = trial()
    run.load.publish(IMAGES)
    own_servers.stop(RegistryServer)
    run.fleet.start()

    def stay_down() -> None:
        run.until(lambda: run.fleet["preprocess"].log().count("RegistryUnavailable"), "preprocess without registry")
        own_servers.up()

    run.strike(stay_down, "preprocess")
    run.await_results(IMAGES // 2)

    def go_down_for_new_processes() -> None:
        own_servers.kill(RegistryServer)
        run.load.publish(IMAGES)
        run.await_results(30)  # those that run know their schemas
        before = run.fleet["preprocess"].log().count("RegistryUnavailable")
        if not FULL:
            own_servers.up()
            return
        for stage in STAGES:
            run.fleet[stage].kill()
            run.fleet[stage].start()
        run.load.publish(IMAGES)
        run.until(lambda: run.fleet["preprocess"].log().count("RegistryUnavailable") > before, "a batch without it")
        own_servers.up()

    run.strike(go_down_for_new_processes)
    run.finish(4, "Schema Registry down, at start and later")
