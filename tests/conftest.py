"""The real servers, started once per run, and a site of its own for each test.

RADIOLOG_TEST_SERVERS picks where they run: `embedded` (the stack of `radiolog stack up`), `containers`
(testcontainers, with the images that docker-compose.yml names), or `auto`, which takes containers when a Docker engine
answers. The last lines of the run say which was used.
"""

import asyncio
import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import pytest
import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pydicom.data import get_testdata_file
from rich.console import Console

from radiolog.health import Health
from radiolog.log.api import Clients
from radiolog.log.clients import KafkaClients
from radiolog.log.memory import MemoryLog
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import Slice, Unreadable, pin, read
from radiolog.log.runtime import StageRunner
from radiolog.log.sink import SinkRunner
from radiolog.log.stage import Received
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event
from schemas.registry import MemoryRegistry, codec
from schemas.topics import TOPICS, Topic
from tests import sites
from tests.faults.table import PROPERTY, Row, rendered

if TYPE_CHECKING:
    from docker.models.containers import Container

E = TypeVar("E", bound=Event)

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
SITE_SECRET = "0123456789abcdef" * 4
CONFLUENT_API = "/apis/ccompat/v7"
RUN_LABEL = "org.radiolog.test-run"
LEFT_OUT = {
    "shared/data is absent": ["shared/data is absent"],
    "DCMTK has sent nothing": ["DCMTK is not installed"],
    "Orthanc has sent nothing": ["Orthanc is not installed, or"],
    "docker-compose.yml is untested": ["no Docker engine answers", "neither `docker compose` nor docker-compose"],
}
"""What the run says it left out, and the reasons of skipped tests that show it."""
used: list[str] = []


def pytest_report_header() -> str:
    return f"servers: RADIOLOG_TEST_SERVERS={wanted()}"


def pytest_sessionfinish(session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:  # of one of several processes
        output["servers"] = used


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    used.extend(kind for kind in getattr(node, "workeroutput", {}).get("servers", []) if kind not in used)


def pytest_terminal_summary(terminalreporter) -> None:
    terminalreporter.write_line(f"servers used: {', '.join(used) or 'none'}")
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for what, causes in LEFT_OUT.items():
        if count := sum(any(cause in reason for cause in causes) for reason in reasons):
            terminalreporter.write_line(f"WARNING: {what}, {count} tests skipped", red=True)
    if rows := faults_of(terminalreporter):
        console = Console(width=140)
        with console.capture() as text:
            console.print(rendered(rows))
        terminalreporter.write(text.get())


def faults_of(terminalreporter) -> list[Row]:
    """The rows that tests have left with their reports, whichever process ran them."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    kept = [getattr(report, "user_properties", []) for report in reports if getattr(report, "when", "") == "teardown"]
    return [Row(**value) for properties in kept for name, value in properties if name == PROPERTY]


def pytest_configure() -> None:
    """A shell that starts the suite in the background has it ignore Ctrl-C, and with it all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "servers" in item.fixturenames:
            item.add_marker("servers")


def wanted() -> str:
    return os.environ.get("RADIOLOG_TEST_SERVERS", "auto")


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A command that a test runs in this process sets up logs; the next test has its own."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that need it are skipped, and counted, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    """Finds a file of pydicom's or pydicom-data's."""

    def find(name: str) -> Path:
        path = get_testdata_file(name, download=False)
        assert path is not None, f"{name} is not installed"
        return Path(str(path))

    return find


@pytest.fixture(scope="session")
def servers() -> Iterator[Settings]:
    """Kafka, a Schema Registry and PostgreSQL."""
    kind = wanted()
    if kind == "auto":
        kind = "containers" if docker_answers() else "embedded"
    folder = Path(tempfile.mkdtemp(prefix="radiolog-test-"))
    folder.chmod(0o755)  # PostgreSQL runs as `nobody` when the tests run as root
    try:
        with BACKENDS[kind](folder) as addresses:
            used.append(kind)
            yield Settings(state_dir=folder / "state", site_secret=SITE_SECRET, partitions=2, **addresses)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def bare_site(servers: Settings) -> Iterator[Settings]:
    """A topic prefix, consumer groups and an empty database of one test's own."""
    site = sites.bare(servers)
    yield site
    asyncio.run(sites.drop_database(servers, site.app))


@pytest.fixture
def site(bare_site: Settings) -> Settings:
    """A site with its topics, schemas and tables."""
    return sites.equipped(bare_site)


@pytest.fixture
def site_codec(site: Settings) -> Codec:
    return codec(site)


@dataclass(frozen=True)
class World:
    """A log with its topics, and what it takes to work on it."""

    settings: Settings
    codec: Codec
    clients: Clients

    def publisher(self) -> KafkaPublisher:
        return KafkaPublisher(self.settings, self.codec, self.clients)

    def publish(self, topic: Topic[Event], events: Iterable[Event]) -> None:
        with self.publisher() as publisher:
            publisher.publish([Fact(topic, event) for event in events])

    def publish_raw(self, topic: Topic[Event], value: bytes) -> None:
        producer = self.clients.producer(lambda error: None)
        producer.produce(self.name(topic), value, "key")
        assert producer.flush(30) == 0

    def pin(self, topic: Topic[E]) -> Slice[E]:
        return pin(self.settings, topic, self.clients)

    def read(self, wanted: Slice[E]) -> list[Received[E] | Unreadable]:
        return list(read(self.settings, self.codec, wanted, self.clients))

    def events(self, topic: Topic[E]) -> list[E]:
        """Everything that is committed to a topic now."""
        return [item.event for item in self.read(self.pin(topic)) if isinstance(item, Received)]

    def name(self, topic: Topic[Event]) -> str:
        return topic.full_name(self.settings.topic_prefix)

    @contextmanager
    def running(self, runner: StageRunner | SinkRunner) -> Iterator[Callable[[Callable[[], bool]], None]]:
        """Runs it in a thread; gives a function that waits until a condition holds, or the runner has failed."""
        stop, ready, failures = threading.Event(), threading.Event(), []

        def target() -> None:
            try:
                runner.run(stop, Health(ready.set))
            except BaseException as error:
                failures.append(error)
                ready.set()

        thread = threading.Thread(target=target)
        thread.start()
        try:
            assert ready.wait(60)
            yield lambda condition: self.until(lambda: failures or condition())
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()
        if failures:
            raise failures[0]

    @staticmethod
    def until(condition: Callable[[], object], seconds: float = 60) -> None:
        poll, deadline = threading.Event(), time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            poll.wait(0.02)


@pytest.fixture
def kafka(site: Settings) -> World:
    """Kafka, with the topics of the test's own site."""
    return World(site, codec(site), KafkaClients(site))


@pytest.fixture
def twin(tmp_path) -> World:
    """The log's twin in memory, with its topics."""
    settings = Settings(state_dir=tmp_path, site_secret=SITE_SECRET, topic_prefix="t.", app="t", partitions=2)
    log = MemoryLog(patience=0.02)
    for topic in TOPICS:
        log.create(topic.full_name(settings.topic_prefix), settings.partitions)
    return World(settings, Codec(MemoryRegistry(), settings.topic_prefix), log)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def world(request) -> World:
    """The log's twin, and Kafka: what a test proves of one, it proves of the other."""
    return request.getfixturevalue("kafka" if request.param == "kafka" else "twin")


@pytest.fixture(name="free_port")
def a_free_port() -> int:
    """A TCP port that nothing listens on."""
    return free_port()


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
    """Containers of the images that docker-compose.yml names, on a network of their own, published on loopback.

    All of it carries a label of this run, and what carries it is removed at the end, however far the start came.
    """

    def __init__(self, folder: Path) -> None:
        # testcontainers' own reaper is one more image, which may not be there.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        from testcontainers.core.network import Network

        self._run = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._network = Network(docker_network_kw={"labels": {RUN_LABEL: self._run}})

    def __enter__(self) -> dict[str, str]:
        try:
            return self._start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        import docker

        ours = {"label": f"{RUN_LABEL}={self._run}"}
        client = docker.from_env()
        for container in client.containers.list(all=True, filters=ours):
            container.remove(force=True, v=True)
        for network in client.networks.list(filters=ours):
            network.remove()
        client.close()

    def _start(self) -> dict[str, str]:
        self._network.create()
        broker, registry, database, password = free_port(), free_port(), free_port(), secrets.token_hex(16)
        url = f"postgresql://radiolog:{password}@127.0.0.1:{database}/radiolog"
        environment = {"POSTGRES_USER": "radiolog", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "radiolog"}
        postgres = self._run_image("postgres:18", "postgres", {5432: database}, environment)
        kafka = self._run_image("apache/kafka:4.2.1", "kafka", {9092: broker}, kafka_environment(broker))
        await_answer(kafka, lambda: broker_answers(broker))
        environment = {
            "APICURIO_STORAGE_KIND": "kafkasql",
            "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": "kafka:19092",
            "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": "200",
        }
        schemas = self._run_image("apicurio/apicurio-registry:3.3.3", "registry", {8080: registry}, environment)
        await_answer(schemas, lambda: registry_answers(registry))
        await_answer(postgres, lambda: postgres_answers(url))
        return {
            "bootstrap_servers": f"127.0.0.1:{broker}",
            "schema_registry_url": f"http://127.0.0.1:{registry}{CONFLUENT_API}",
            "database_url": url,
        }

    def _run_image(self, image: str, alias: str, ports: dict[int, int], environment: dict[str, str]) -> "Container":
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(image, env=environment, labels={RUN_LABEL: self._run})
        container.with_network(self._network).with_network_aliases(alias)
        for inside, outside in ports.items():
            container.ports[f"{inside}/tcp"] = ("127.0.0.1", outside)
        container.start()
        return container.get_wrapped_container()


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


def await_answer(container: "Container", answers: Callable[[], bool]) -> None:
    """Waits until the server answers; where its container ends first, or takes two minutes, its last lines say why."""
    poll, deadline = threading.Event(), time.monotonic() + 120
    while not answers():
        container.reload()
        if container.status == "exited" or time.monotonic() > deadline:
            lines = container.logs(tail=20).decode(errors="replace")
            raise RuntimeError(f"{container.image} does not answer:\n{lines}")
        poll.wait(0.2)


def broker_answers(port: int) -> bool:
    # Log level 0: while the broker starts, librdkafka would print each refused connection.
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def registry_answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"{CONFLUENT_API}/subjects")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def postgres_answers(url: str) -> bool:
    """Whether the server proper answers: the one that the image starts for its own set-up listens on no port."""

    async def connect() -> None:
        await (await asyncpg.connect(url, timeout=2)).close()

    try:
        asyncio.run(connect())
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
