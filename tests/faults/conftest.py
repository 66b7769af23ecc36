"""Servers that the tests may stop and kill, and a site of each test's own on them."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import asyncpg
import pytest

from radiolog.log.topics import apply
from radiolog.settings import Settings
from radiolog.stack.stack import StackAddresses
from schemas.registry import ConfluentRegistry
from sinks.migrate import migrate
from tests.faults import trial as trials
from tests.faults.model import save_small_bundle
from tests.faults.servers import OwnServers
from tests.faults.table import PROPERTY
from tests.faults.trial import Trial

MakeTrial = Callable[..., Trial]


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "trial" in item.fixturenames:
            item.add_marker("servers")
            item.add_marker(pytest.mark.timeout(3600 if trials.FULL else 300))


@pytest.fixture(scope="session")
def faults_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radiolog-faults-"))
    folder.chmod(0o755)  # PostgreSQL runs as `nobody` when the tests run as root
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def small_bundle(faults_folder: Path) -> Path:
    save_small_bundle(faults_folder / "bundle")
    return faults_folder / "bundle"


@pytest.fixture(scope="session")
def own_servers(faults_folder: Path) -> Iterator[OwnServers]:
    servers = OwnServers(faults_folder / "stack")
    try:
        servers.up()
        yield servers
    finally:
        servers.down()


@pytest.fixture
def trial(own_servers: OwnServers, small_bundle: Path, tmp_path: Path, request) -> Iterator[MakeTrial]:
    """Makes the trial of a test, on topics and tables of its own; its row goes with the test's report."""
    made: list[Trial] = []

    def make(entries=None, servers=own_servers, **changes) -> Trial:
        changes = {"decode_workers": trials.full_or(1, 2)} | changes
        settings = new_site(servers.up(), faults_state=small_bundle.parent, bundle=str(small_bundle), **changes)
        made.append(Trial(settings, servers, tmp_path, entries))
        return made[-1]

    yield make
    for one in made:
        request.node.user_properties.extend((PROPERTY, asdict(row)) for row in one.rows)
        one.close()


def new_site(addresses: StackAddresses, faults_state: Path, **changes) -> Settings:
    """Topics, schemas, a database and tables under a new name."""
    name = f"f{secrets.token_hex(4)}"
    asyncio.run(create_database(addresses.database_url, name))
    base, _, query = addresses.database_url.partition("?")
    values = {
        "state_dir": faults_state,
        "bootstrap_servers": addresses.bootstrap_servers,
        "schema_registry_url": addresses.schema_registry_url,
        "database_url": f"{base.rsplit('/', 1)[0]}/{name}?{query}",
        "app": name,
        "topic_prefix": f"{name}.",
        "partitions": 4,
    }
    settings = Settings(**values | changes)
    list(apply(settings, ConfluentRegistry.from_settings(settings)))
    migrate(settings.database_url.get_secret_value())
    return settings


async def create_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
