"""The real servers, started once per run, and a site of its own for each test.

RADIOLOG_TEST_SERVERS picks where they run: `embedded` (the stack of `radiolog stack up`), `containers`
(testcontainers, with the images that docker-compose.yml names), or `auto`, which takes containers when a Docker engine
answers. The last lines of the run say which was used.
"""

import asyncio
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from radiolog.log.topics import apply
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.registry import ConfluentRegistry, codec
from sinks.migrate import migrate

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
SITE_SECRET = "0123456789abcdef" * 4
used: list[str] = []


def pytest_report_header() -> str:
    return f"servers: RADIOLOG_TEST_SERVERS={wanted()}"


def pytest_terminal_summary(terminalreporter) -> None:
    terminalreporter.write_line(f"servers used: {', '.join(used) or 'none'}")
    skipped = terminalreporter.stats.get("skipped", [])
    absent = [report for report in skipped if "shared/data" in str(report.longrepr)]
    if absent:
        terminalreporter.write_line(f"WARNING: {len(absent)} tests skipped, since ../shared/data is absent", red=True)


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "servers" in item.fixturenames:
            item.add_marker("servers")


def wanted() -> str:
    return os.environ.get("RADIOLOG_TEST_SERVERS", "auto")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that need it are skipped, and counted, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def servers() -> Iterator[Settings]:
    """Kafka, a Schema Registry and PostgreSQL."""
    kind = wanted()
    if kind == "auto":
        kind = "containers" if docker_answers() else "embedded"
    folder = Path(tempfile.mkdtemp(prefix="radiolog-test-"))
    folder.chmod(0o755)  # PostgreSQL runs as `nobody` when the tests run as root
    with BACKENDS[kind](folder) as addresses:
        used.append(kind)
        yield Settings(state_dir=folder / "state", site_secret=SITE_SECRET, partitions=2, **addresses)
    shutil.rmtree(folder)


@pytest.fixture
def bare_site(servers: Settings) -> Iterator[Settings]:
    """A topic prefix, consumer groups and an empty database of one test's own."""
    name = f"t{secrets.token_hex(4)}"
    base, _, query = servers.database_url.get_secret_value().partition("?")
    url = f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    asyncio.run(execute(servers, f"create database {name}"))
    yield servers.model_copy(
        update={"topic_prefix": f"{name}.", "app": name, "database_url": type(servers.database_url)(url)}
    )
    asyncio.run(execute(servers, f"drop database {name} with (force)"))


@pytest.fixture
def site(bare_site: Settings) -> Settings:
    """A site with its topics, schemas and tables."""
    list(apply(bare_site, ConfluentRegistry.from_settings(bare_site)))
    migrate(bare_site.database_url.get_secret_value())
    return bare_site


@pytest.fixture
def site_codec(site: Settings) -> Codec:
    return codec(site)


async def execute(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def docker_answers() -> bool:
    import docker
    from docker.errors import DockerException

    try:
        return bool(docker.from_env(timeout=5).ping())
    except DockerException:
        return False


class EmbeddedServers:
    """The servers of `radiolog stack up`, in a state folder of their own."""

    def __init__(self, folder: Path) -> None:
        from radiolog.stack.stack import Stack

        self._stack = Stack(folder / "stack")

    def __enter__(self) -> dict[str, str]:
        addresses = self._stack.up()
        return {
            "bootstrap_servers": addresses.bootstrap_servers,
            "schema_registry_url": addresses.schema_registry_url,
            "database_url": addresses.database_url,
        }

    def __exit__(self, *exception: object) -> None:
        self._stack.down()


class ContainerServers:
    """Containers of the images that docker-compose.yml names, on a network of their own, published on loopback."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")  # its image may not be there; we stop our own
        from testcontainers.core.network import Network

        self._network = Network()
        self._running = ExitStack()

    def __enter__(self) -> dict[str, str]:
        self._running.enter_context(self._network)
        broker, registry, password = free_port(), free_port(), secrets.token_hex(16)
        self._start("apache/kafka:4.3.1", "kafka", {9092: broker}, kafka_environment(broker), "Kafka Server started")
        environment = {
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": "kafka:19092",
        }
        self._start("apicurio/apicurio-registry:3.3.3", "registry", {8080: registry}, environment, "Listening on")
        database = free_port()
        environment = {"POSTGRES_USER": "radiolog", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "radiolog"}
        self._start("postgres:18", "postgres", {5432: database}, environment, "ready to accept connections")
        url = f"postgresql://radiolog:{password}@127.0.0.1:{database}/radiolog"
        await_postgres(url)
        return {
            "bootstrap_servers": f"127.0.0.1:{broker}",
            "schema_registry_url": f"http://127.0.0.1:{registry}/apis/ccompat/v7",
            "database_url": url,
        }

    def __exit__(self, *exception: object) -> None:
        self._running.close()

    def _start(self, image: str, alias: str, ports: dict[int, int], environment: dict[str, str], line: str) -> None:
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        container = DockerContainer(image).with_network(self._network).with_network_aliases(alias)
        container.waiting_for(LogMessageWaitStrategy(line).with_startup_timeout(120))
        for name, value in environment.items():
            container.with_env(name, value)
        for inside, outside in ports.items():
            container.ports[f"{inside}/tcp"] = ("127.0.0.1", outside)
        self._running.enter_context(container)


BACKENDS = {"embedded": EmbeddedServers, "containers": ContainerServers}


def kafka_environment(port: int) -> dict[str, str]:
    """One broker with a listener for this machine and one for the other containers."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "HOST://:9092,INSIDE://:19092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"HOST://127.0.0.1:{port},INSIDE://kafka:19092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,HOST:PLAINTEXT,INSIDE:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INSIDE",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_MESSAGE_MAX_BYTES": str(12 << 20),
        "KAFKA_REPLICA_FETCH_MAX_BYTES": str(12 << 20),
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "8",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "8",
    }


def await_postgres(url: str) -> None:
    """Waits for the server proper: the image starts one for its own set-up first, which says the same."""

    async def answers() -> bool:
        try:
            await (await asyncpg.connect(url, timeout=2)).close()
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return False
        return True

    poll = threading.Event()
    for _ in range(300):
        if asyncio.run(answers()):
            return
        poll.wait(0.2)
    raise TimeoutError("PostgreSQL did not answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
