"""Three brokers, each a controller too, with every record on three of them and acknowledged by two (KIP-833)."""

import os
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from radiolog.stack.account import unprivileged_account
from radiolog.stack.artifacts import ensure, pinned
from radiolog.stack.command import Command
from radiolog.stack.jvm import java
from radiolog.stack.kafka import LOG4J, server_properties
from radiolog.stack.ports import Ports, choose_ports
from radiolog.stack.postgres import PostgresServer
from radiolog.stack.process import ServerProcess
from radiolog.stack.registry import RegistryServer
from radiolog.stack.stack import StackAddresses
from radiolog.stack.state import StateFolder
from tests.faults.servers import kill_server, until

NODES = (1, 2, 3)
HEAP_MIB = 320
CLUSTER_ID = "cmFkaW9sb2ctZmF1bHRzIQ"
SECONDS = 120.0
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class Broker:
    """One of the three nodes."""

    def __init__(self, folder: Path, node: int, ports: Ports, voters: str) -> None:
        self.address = f"127.0.0.1:{ports.kafka}"
        self._state = StateFolder(folder / str(node))
        self._state.create()
        self.process = ServerProcess(f"kafka-{node}", self._state)
        self._properties = (
            server_properties(ports) | REPLICATED | {"node.id": str(node), "controller.quorum.voters": voters}
        )

    def launch(self) -> None:
        folder = self._state.subfolder("kafka")
        (folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in self._properties.items()))
        (folder / "log4j2.properties").write_text(LOG4J)
        if not (folder / "data" / "meta.properties").exists():
            tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={CLUSTER_ID}", "--config=server.properties")
            self.process.prepare("format its storage", self._java(*tool))
        self.process.start(self._java("kafka.Kafka", "server.properties"))

    def _java(self, *arguments: str) -> Command:
        class_path = os.pathsep.join(map(str, ensure(pinned("kafka"), lambda message: None)))
        temporary = self._state.emptied_subfolder("kafka/temporary")
        options = ("-Dlog4j2.configurationFile=log4j2.properties", "-cp", class_path)
        return Command(java(HEAP_MIB, temporary, *options, *arguments), temporary.parent)


class Cluster:
    """The brokers, and a registry and a database beside them."""

    name = "kafka"
    needs = ()

    def __init__(self, folder: Path) -> None:
        self._state = StateFolder(folder / "servers")
        self._state.create()
        self._ports = choose_ports(self._state)
        ports = {node: self._node_ports(folder, node) for node in NODES}
        voters = ",".join(f"{node}@127.0.0.1:{own.kafka_controller}" for node, own in ports.items())
        self.brokers = {node: Broker(folder, node, own, voters) for node, own in ports.items()}
        self._registry = RegistryServer(self._state, self._ports, self)  # type: ignore[arg-type]
        self._database = PostgresServer(self._state, unprivileged_account())

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(broker.address for broker in self.brokers.values())

    def up(self) -> StackAddresses:
        """Starts what does not run, and returns when all answer."""
        for broker in self.brokers.values():
            if broker.process.find() is None:
                broker.launch()
        if self._database.process.find() is None:
            self._database.launch(lambda message: None)
        until(self.is_whole, SECONDS, "three brokers")
        if self._registry.process.find() is None:
            self._registry.launch(lambda message: None)
        until(lambda: self._registry.is_ready() and self._database.is_ready(), SECONDS, "registry and database")
        return StackAddresses(self.bootstrap_servers, self._registry.url, self._database.url)

    def kill(self, node: int) -> None:
        kill_server(self.brokers[node].process)

    def is_whole(self) -> bool:
        """Whether every broker answers, and every partition has all of its replicas in sync."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            seen = admin.list_topics(timeout=5)
        except KafkaException:
            return False
        partitions = [partition for topic in seen.topics.values() for partition in topic.partitions.values()]
        return len(seen.brokers) == len(NODES) and all(
            len(partition.isrs) == len(partition.replicas) for partition in partitions
        )

    def down(self) -> None:
        for process in (self._registry.process, self._database.process, *(b.process for b in self.brokers.values())):
            if process.find() is not None:
                kill_server(process)

    @staticmethod
    def _node_ports(folder: Path, node: int) -> Ports:
        state = StateFolder(folder / str(node))
        state.create()
        return choose_ports(state)
