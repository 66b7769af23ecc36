"""A Docker engine and Compose for the tests of docker-compose.yml; without them the run says what it left out."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "radiolog:test"  # stays afterwards: the next build starts from its layers


def succeeds(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture(scope="session")
def compose_command() -> tuple[str, ...]:
    if succeeds("docker", "compose", "version"):
        return ("docker", "compose")
    if succeeds("docker-compose", "version"):
        return ("docker-compose",)
    pytest.skip("neither `docker compose` nor docker-compose is installed")


@pytest.fixture(scope="session")
def engine() -> None:
    if not succeeds("docker", "info"):
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="session")
def make_compose(compose_command) -> Callable[[dict[str, int]], "Compose"]:
    return lambda ports: Compose(compose_command, ports)


@pytest.fixture(scope="session")
def run_image(engine) -> Callable[..., str]:
    """Runs a program in a container of the image, and gives its output."""
    return lambda program, *arguments: docker("run", "--rm", "--entrypoint", program, IMAGE, *arguments)


class Compose:
    """docker-compose.yml under a project name of its own, on the given ports, with secrets from nowhere else."""

    def __init__(self, command: tuple[str, ...], ports: dict[str, int]) -> None:
        self.password, self.token = secrets.token_hex(16), secrets.token_hex(32)
        self.ports = ports
        self.project = f"radiolog-test-{secrets.token_hex(4)}"
        self._command = (*command, "--project-name", self.project)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")} | {
            "POSTGRES_PASSWORD": self.password,
            "RADIOLOG_SITE_SECRET": secrets.token_hex(32),
            "RADIOLOG_STOW_TOKENS": f"pacs={self.token}",
            "RADIOLOG_IMAGE": IMAGE,
            **{f"RADIOLOG_{name}_PORT": str(port) for name, port in ports.items()},
        }

    def run(self, *arguments: str, without: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs one command of Compose, with the variable named in `without` empty."""
        environment = self._environment | ({without: ""} if without else {})
        return subprocess.run(
            [*self._command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def must(self, *arguments: str) -> str:
        done = self.run(*arguments)
        if done.returncode != 0:
            raise AssertionError(f"{arguments[0]} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def containers(self) -> list[dict]:
        """`docker inspect` of every container of the project, those that have ended included."""
        found = docker("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}")
        return json.loads(docker("inspect", *found.split())) if found else []


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout
