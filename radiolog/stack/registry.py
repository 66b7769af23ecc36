"""Apicurio Registry, the schema registry; its schemas live on the log itself (storage `kafkasql`)."""

import os
import shutil
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from radiolog.stack.artifacts import ensure, pinned
from radiolog.stack.command import Command
from radiolog.stack.jvm import java
from radiolog.stack.kafka import KafkaServer
from radiolog.stack.ports import LOOPBACK, Ports, require_free
from radiolog.stack.process import ServerProcess
from radiolog.stack.state import StateFolder

NAME = "registry"
HEAP_MIB = 256
CONFLUENT_API = "/apis/ccompat/v7"
POLL_MILLISECONDS = 200
PROBE_SECONDS = 5.0


class RegistryServer:
    """The schema registry of one state folder."""

    def __init__(self, state: StateFolder, ports: Ports, kafka: KafkaServer) -> None:
        self.process = self.process_in(state)
        self.needs = (kafka,)
        self._state = state
        self._ports = ports
        self._bootstrap_servers = kafka.bootstrap_servers

    @staticmethod
    def process_in(state: StateFolder) -> ServerProcess:
        """The server's process, whatever its ports."""
        return ServerProcess(NAME, state)

    @property
    def url(self) -> str:
        """Base of the API that speaks like Confluent's registry."""
        return f"http://{LOOPBACK}:{self._ports.registry}{CONFLUENT_API}"

    @property
    def address(self) -> str:
        """The same, as `status` shows it."""
        return self.url

    def launch(self, progress: Callable[[str], None]) -> None:
        """Unpack the distribution on the first start, and start.

        Raises:
            ArtifactError: the distribution is missing and cannot be fetched, or is not the pinned one.
            PortTakenError: another program has one of the ports.
            ServerStartError: Java could not be executed.
        """
        (distribution,) = ensure(pinned(NAME), progress)
        require_free(self._state, NAME, self._ports.registry, self._ports.registry_management)
        application = self._unpacked(distribution)
        definitions = (f"-D{name}={value}" for name, value in self._properties().items())
        temporary = self._state.emptied_subfolder(f"{NAME}/temporary")
        arguments = java(HEAP_MIB, temporary, *definitions, "-jar", "quarkus-run.jar")
        self.process.start(Command(arguments, application))

    def is_ready(self) -> bool:
        """Whether the registry lists its subjects, with its journal on the log read to the end."""
        health = f"http://{LOOPBACK}:{self._ports.registry_management}/health/ready"
        return _is_ok(health) and _is_ok(f"{self.url}/subjects")

    def _properties(self) -> dict[str, str]:
        """Apicurio's and Quarkus' configuration, by its own names (application.properties)."""
        return {
            "apicurio.storage.kind": "kafkasql",
            "apicurio.kafkasql.bootstrap.servers": self._bootstrap_servers,
            # At its start the registry looks for a snapshot and waits out four polls, 5 s each by default. Should it
            # miss one, it reads the journal from the beginning, which is kept for ever.
            "apicurio.kafkasql.consumer.poll.timeout": str(POLL_MILLISECONDS),
            "quarkus.http.host": LOOPBACK,
            "quarkus.http.port": str(self._ports.registry),
            "quarkus.management.host": LOOPBACK,
            "quarkus.management.port": str(self._ports.registry_management),
            "quarkus.http.access-log.enabled": "false",
            'quarkus.log.category."org.apache.kafka".level': "WARN",
            "quarkus.log.console.format": "%d{yyyy-MM-dd HH:mm:ss,SSS} %p [%c{1}] %s%e%n",
        }

    def _unpacked(self, distribution: Path) -> Path:
        """The distribution's files; the folder appears under its name only once it is complete."""
        folder = self._state.subfolder(NAME)
        application = folder / distribution.name.removesuffix(".tar.gz")
        if not application.is_dir():
            draft = application.with_suffix(".unpacking")
            shutil.rmtree(draft, ignore_errors=True)
            shutil.unpack_archive(distribution, draft)  # as it is: its SHA-256 is pinned
            os.replace(draft, application)
        return application


def _is_ok(url: str) -> bool:
    # Without the proxy of the user's environment: the call stays on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_SECONDS) as answer:
            return int(answer.status) == 200
    except (OSError, HTTPException):
        return False
