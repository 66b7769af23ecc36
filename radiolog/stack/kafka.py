"""Apache Kafka as one process: broker and controller in KRaft combined mode, on loopback only."""

import base64
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from radiolog.stack.artifacts import ensure, pinned
from radiolog.stack.command import Command
from radiolog.stack.errors import StateFolderError
from radiolog.stack.jvm import java
from radiolog.stack.ports import LOOPBACK, Ports, accepts_connections, require_free
from radiolog.stack.process import ServerProcess
from radiolog.stack.state import StateFolder

NAME = "kafka"
HEAP_MIB = 512
MAX_RECORD_BYTES = 12 << 20
"""Batch size limit: an inline object of 10 MiB with its Avro envelope, and room to spare."""
PROBE_SECONDS = 5.0
FORMATTED_BY = "formatted-by"
"""File beside the storage that names the version of Kafka that made it."""

LOG4J = """\
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p [%c{1}] %m%n
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = INFO
"""


def version() -> str:
    """The pinned version."""
    return next(artifact.version for artifact in pinned(NAME) if artifact.name.startswith("kafka_"))


def server_properties(ports: Ports) -> dict[str, str]:
    """Broker configuration (https://kafka.apache.org/documentation/#brokerconfigs)."""
    broker, controller = f"{LOOPBACK}:{ports.kafka}", f"{LOOPBACK}:{ports.kafka_controller}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        # Relative to the working directory: a path with a comma would be two folders here.
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(MAX_RECORD_BYTES),
        "replica.fetch.max.bytes": str(MAX_RECORD_BYTES),
        # A topic that names no retention of its own keeps everything: the log is the system, and Kafka's default
        # of a week would also take the registry's journal. Committed offsets of an idle group stay as well.
        "log.retention.ms": "-1",
        "offsets.retention.minutes": "2147483647",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "8",
        "group.initial.rebalance.delay.ms": "0",
    }


class KafkaServer:
    """The broker of one state folder."""

    needs = ()

    def __init__(self, state: StateFolder, ports: Ports) -> None:
        self.process = self.process_in(state)
        self._state = state
        self._ports = ports

    @staticmethod
    def process_in(state: StateFolder) -> ServerProcess:
        """The server's process, whatever its ports."""
        return ServerProcess(NAME, state)

    @property
    def bootstrap_servers(self) -> str:
        """The broker's `host:port`."""
        return f"{LOOPBACK}:{self._ports.kafka}"

    @property
    def address(self) -> str:
        """The same, as `status` shows it."""
        return self.bootstrap_servers

    def launch(self, progress: Callable[[str], None]) -> None:
        """Configure, format on the first start, and start.

        Raises:
            ArtifactError: Kafka's files are missing and cannot be fetched, or are not the pinned ones.
            StateFolderError: a newer Kafka made the storage, and this one cannot read it.
            PortTakenError: another program has one of the ports.
            ServerStartError: the storage could not be formatted, or Java not be executed.
        """
        class_path = os.pathsep.join(map(str, ensure(pinned(NAME), progress)))
        require_free(self._state, NAME, self._ports.kafka, self._ports.kafka_controller)
        folder = self._state.subfolder(NAME)
        lines = (f"{key}={value}\n" for key, value in server_properties(self._ports).items())
        (folder / "server.properties").write_text("".join(lines))
        (folder / "log4j2.properties").write_text(LOG4J)
        if (folder / "data" / "meta.properties").exists():
            _require_readable(folder)
        else:
            (folder / FORMATTED_BY).write_text(version() + "\n")
            self.process.prepare("format its storage", self._java(class_path, *_format_arguments()))
        self.process.start(self._java(class_path, "kafka.Kafka", "server.properties"))

    def is_ready(self) -> bool:
        """Whether the broker lists its topics."""
        if not accepts_connections(self._ports.kafka):
            return False
        # Log level 0: while the broker starts, librdkafka would print each refused connection.
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=PROBE_SECONDS).brokers)
        except KafkaException:
            return False

    def _java(self, class_path: str, *arguments: str) -> Command:
        logging = "-Dlog4j2.configurationFile=log4j2.properties"
        temporary = self._state.emptied_subfolder(f"{NAME}/temporary")
        return Command(java(HEAP_MIB, temporary, logging, "-cp", class_path, *arguments), temporary.parent)


def _require_readable(folder: Path) -> None:
    """Kafka reads the metadata of older versions, not of newer ones; before this file was kept, it was 4.3."""
    file = folder / FORMATTED_BY
    theirs, ours = file.read_text().strip() if file.exists() else "4.3", version()
    if _numbers(theirs) > _numbers(ours):
        raise StateFolderError(
            f"the log in {folder} was made by Kafka {theirs}, which the Kafka {ours} of this radiolog cannot read. "
            "It is left as it is: go on with the radiolog that made it, or set RADIOLOG_STATE_DIR to a new folder "
            "and send the studies again"
        )


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(map(int, dotted.split(".")))


def _format_arguments() -> tuple[str, ...]:
    """Kafka's tool that gives a storage its cluster id; it writes `meta.properties` last."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "--config=server.properties")
