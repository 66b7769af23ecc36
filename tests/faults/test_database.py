"""PostgreSQL is stopped, killed with a transaction of the sink open, or has no connection left."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncpg

from radiolog.stack.postgres import PostgresServer
from tests.faults.trial import Trial, full_or

DOWN_SECONDS = full_or(3, 20)
IMAGES = full_or(150, 2000)
SINK_WAITS = """
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and xact_start is not null"""
END_OTHERS = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> all($1)"""


def test_the_database_is_stopped(trial, own_servers):
    run = trial()
    run.load.publish(IMAGES)
    run.fleet.start()
    run.await_results(30, "sink")

    def stop_for_a_while() -> None:
        own_servers.stop(PostgresServer)
        time.sleep(DOWN_SECONDS)  # the length of the fault
        own_servers.up()

    run.strike(stop_for_a_while, "sink")
    run.load.publish(IMAGES)
    run.finish(4, f"PostgreSQL stopped for {DOWN_SECONDS} s")


def test_the_database_is_killed_in_the_middle_of_a_transaction(trial, own_servers):
    run = trial()
    run.fleet.start()
    for _ in range(full_or(1, 5)):
        run.load.publish(IMAGES)
        run.await_results(30, "sink")

        def kill_in_transaction() -> None:
            with sink_held(run):
                own_servers.kill(PostgresServer)
            own_servers.up()

        run.strike(kill_in_transaction, "sink")
    run.finish(4, "PostgreSQL killed, transaction open")


@contextmanager
def sink_held(run: Trial) -> Iterator[None]:
    """The sink has moved its position, and waits for the table: its transaction is open."""
    with asyncio.Runner() as runner:
        url = run.settings.database_url.get_secret_value()
        holder, watcher = (runner.run(asyncpg.connect(url)) for _ in range(2))
        runner.run(holder.execute("begin"))
        runner.run(holder.execute("lock table diagnosis, dead_letter, restricted.identity in share mode"))
        run.until(lambda: runner.run(watcher.fetchval(SINK_WAITS)), "the sink's transaction")
        yield
        holder.terminate()
        watcher.terminate()


def test_no_connection_is_left(trial, own_servers):
    run = trial()
    run.load.publish(IMAGES)
    run.fleet.start()
    run.await_results(30, "sink")
    run.strike(lambda: asyncio.run(take_all_connections(run)), "sink")
    run.load.publish(IMAGES)
    run.finish(4, f"PostgreSQL: no connection left for {DOWN_SECONDS} s")


async def take_all_connections(run: Trial) -> None:
    """Takes every connection, the sink's own too, and keeps them for a while."""
    url = run.settings.database_url.get_secret_value()
    taken = [await asyncpg.connect(url)]
    try:
        await fill(url, taken)
        await taken[0].execute(END_OTHERS, [connection.get_server_pid() for connection in taken])
        await fill(url, taken)
        before, until = run.progress.done("sink"), time.monotonic() + DOWN_SECONDS
        while time.monotonic() < until:
            await fill(url, taken)
            await asyncio.sleep(0.1)
        assert run.progress.done("sink") == before, "the sink had a connection"
    finally:
        for connection in taken:
            with suppress(OSError, asyncpg.PostgresError):
                await connection.close()


async def fill(url: str, taken: list[asyncpg.Connection]) -> None:
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            taken.append(await asyncpg.connect(url))
