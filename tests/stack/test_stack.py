"""The real servers, brought up once, stopped and brought up again."""

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from radiolog.settings import load_settings
from radiolog.stack.stack import ServerStatus, Stack, StackAddresses

pytestmark = pytest.mark.servers

TOPIC, SUBJECT = "survivors", "survivors-value"
LARGEST_INLINE = b"\x5a" * (10 << 20)


@dataclass(frozen=True)
class Restart:
    """What one `down` and `up` in between left as it was, and what not."""

    addresses_before: StackAddresses
    addresses_after: StackAddresses
    environment_before: str
    environment_after: str
    running: tuple[ServerStatus, ...]
    stopped: tuple[ServerStatus, ...]
    survivors: list[psutil.Process]


def _publish(bootstrap_servers: str, payload: bytes) -> None:
    """Append one record; raises where the broker refuses it."""
    outcomes = []
    producer = Producer({"bootstrap.servers": bootstrap_servers, "message.max.bytes": len(payload) + 4096})
    producer.produce(TOPIC, payload, on_delivery=lambda error, _: outcomes.append(error))
    producer.flush(20)
    assert outcomes == [None]


def _read_first(bootstrap_servers: str) -> bytes:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    try:
        message = consumer.poll(20)
    finally:
        consumer.close()
    assert message is not None
    assert message.error() is None
    return message.value() or b""


def _query(database_url: str, *statements: str) -> list[tuple[object, ...]]:
    """The first row of each statement."""

    async def run() -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(database_url)
        try:
            return [tuple(await connection.fetchrow(statement) or ()) for statement in statements]
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def restart(stack: Stack, addresses: StackAddresses, state_dir: Path) -> Restart:
    admin = AdminClient({"bootstrap.servers": addresses.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(20)
    _publish(addresses.bootstrap_servers, LARGEST_INLINE)
    registry = SchemaRegistryClient({"url": addresses.schema_registry_url})
    registry.register_schema(SUBJECT, Schema('"long"', "AVRO"))
    _query(addresses.database_url, "CREATE TABLE survivors AS SELECT 41 AS answer")
    environment = (state_dir / "stack.env").read_text()
    running = stack.status()
    pids = [server.pid for server in running]
    stack.down()
    survivors = [process for process in psutil.process_iter() if process.pid in pids]
    stack.down()
    stopped = stack.status()
    again = stack.up()
    return Restart(addresses, again, environment, (state_dir / "stack.env").read_text(), running, stopped, survivors)


def test_up_twice_starts_nothing_new(stack: Stack, addresses: StackAddresses) -> None:
    before = stack.status()
    said: list[str] = []
    assert stack.up(said.append) == addresses
    assert stack.status() == before
    assert not [message for message in said if message.startswith("starting")]


def test_another_stack_object_finds_the_same_servers(stack: Stack, state_dir: Path) -> None:
    assert Stack(state_dir).status() == stack.status()


def test_status_of_a_running_stack(stack: Stack) -> None:
    servers = stack.status()
    assert [server.name for server in servers] == ["kafka", "postgres", "registry"]
    assert all(server.ready and server.log_file.exists() for server in servers)
    assert all(psutil.pid_exists(server.pid or -1) for server in servers)


def test_status_holds_no_secret(stack: Stack, addresses: StackAddresses) -> None:
    password = addresses.database_url.split(":")[2].partition("@")[0]
    assert len(password) == 64
    assert password not in repr((stack.status(), addresses))


def test_the_largest_record_survives_a_restart(restart: Restart) -> None:
    assert _read_first(restart.addresses_after.bootstrap_servers) == LARGEST_INLINE


def test_schemas_survive_a_restart(restart: Restart) -> None:
    registry = SchemaRegistryClient({"url": restart.addresses_after.schema_registry_url})
    assert registry.get_latest_version(SUBJECT).schema.schema_str == '"long"'


def test_rows_survive_a_restart(restart: Restart) -> None:
    (row,) = _query(restart.addresses_after.database_url, "SELECT answer + 1 AS answer FROM survivors")
    assert row == (42,)


def test_addresses_and_secret_survive_a_restart(restart: Restart) -> None:
    assert restart.addresses_after == restart.addresses_before
    assert restart.environment_after == restart.environment_before


def test_down_leaves_no_process_and_is_idempotent(restart: Restart) -> None:
    assert all(server.pid for server in restart.running)
    assert restart.survivors == []
    assert [(server.pid, server.ready) for server in restart.stopped] == [(None, False)] * 3


def test_no_existing_folder_changes_its_mode_or_owner(
    restart: Restart,
    modes_before: dict[Path, tuple[int, int, int]],
    folder_modes: Callable[[], dict[Path, tuple[int, int, int]]],
) -> None:
    assert Path("/") in modes_before
    assert folder_modes() == modes_before


def test_settings_read_what_up_wrote(
    addresses: StackAddresses, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("RADIOLOG_")]:
        monkeypatch.delenv(name)
    settings = load_settings(state_dir=state_dir)
    assert settings.bootstrap_servers == addresses.bootstrap_servers
    assert settings.schema_registry_url == addresses.schema_registry_url
    assert settings.database_url.get_secret_value() == addresses.database_url
    assert len(bytes.fromhex(settings.require_site_secret().decode())) == 32


@pytest.mark.parametrize("name", ["stack.env", "site.secret", "postgres.password"])
def test_secrets_are_private(stack: Stack, state_dir: Path, name: str) -> None:
    assert stat.S_IMODE((state_dir / name).stat().st_mode) == 0o600


def test_every_listener_is_on_loopback(stack: Stack) -> None:
    listening = {
        server.name: {
            connection.laddr.ip.removeprefix("::ffff:")
            for connection in psutil.Process(server.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        for server in stack.status()
    }
    assert listening == {"kafka": {"127.0.0.1"}, "registry": {"127.0.0.1"}, "postgres": set()}


def test_temporary_files_stay_in_the_state_folder(stack: Stack, state_dir: Path) -> None:
    # In the machine's folder the first user's `vertx-cache` would bar every other user's registry.
    assert (state_dir / "registry" / "temporary" / "vertx-cache").is_dir()


def test_servers_are_out_of_reach_of_the_terminal(stack: Stack) -> None:
    for server in stack.status():
        assert os.getsid(server.pid or 0) == server.pid


def test_the_role_owns_its_database_without_being_a_superuser(addresses: StackAddresses) -> None:
    role, owner = _query(
        addresses.database_url,
        "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user",
        "SELECT pg_get_userbyid(datdba) AS name FROM pg_database WHERE datname = current_database()",
    )
    assert role == (False, True, True)
    assert owner == ("radiolog",)


def test_a_wrong_password_is_refused(addresses: StackAddresses) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        _query(addresses.database_url.replace("radiolog:", "radiolog:not-"), "SELECT 1")


@pytest.mark.parametrize("topic", [TOPIC, "kafkasql-journal"])
def test_a_topic_keeps_everything_unless_it_says_otherwise(restart: Restart, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": restart.addresses_after.bootstrap_servers, "log_level": 0})
    (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    configuration = described.result(20)
    assert configuration["retention.ms"].value == "-1"
    assert configuration["retention.bytes"].value == "-1"


def test_a_topic_is_not_made_by_writing_to_it(addresses: StackAddresses) -> None:
    admin = AdminClient({"bootstrap.servers": addresses.bootstrap_servers, "log_level": 0})
    admin.list_topics("never-applied", timeout=20)
    assert "never-applied" not in admin.list_topics(timeout=20).topics
