"""A site for the peers of each test file, with the adapter and the stages as processes."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from radiolog.log.topics import apply
from radiolog.settings import Settings
from schemas.registry import ConfluentRegistry
from sinks.migrate import migrate
from tests.conftest import SITE_SECRET, execute, free_port
from tests.faults.model import save_small_bundle
from tests.faults.servers import OwnServers
from tests.peers import dcmtk as tools
from tests.peers import ward as wards
from tests.peers.orthanc import Orthanc
from tests.peers.orthanc import require as require_orthanc
from tests.peers.ward import Adapter, Ward

MakeAdapter = Callable[..., AbstractContextManager[Adapter]]


@pytest.fixture(scope="session")
def peers_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radiolog-peers-"))
    folder.chmod(0o755)
    save_small_bundle(folder / "bundle")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_site(peers_folder: Path) -> Callable[[Settings], Settings]:
    """Topics, schemas, a database and tables under a new name."""

    def make(servers: Settings) -> Settings:
        name = f"p{secrets.token_hex(4)}"
        base, _, query = servers.database_url.get_secret_value().partition("?")
        asyncio.run(execute(servers, f"create database {name}"))
        url = f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
        site = servers.model_copy(
            update={
                "topic_prefix": f"{name}.",
                "app": name,
                "database_url": type(servers.database_url)(url),
                "bundle": str(peers_folder / "bundle"),
            }
        )
        list(apply(site, ConfluentRegistry.from_settings(site)))
        migrate(url)
        return site

    return make


@pytest.fixture(scope="module")
def peers_site(servers: Settings, make_site: Callable[[Settings], Settings]) -> Settings:
    return make_site(servers)


@pytest.fixture(scope="module")
def make_adapter(peers_site: Settings, peers_folder: Path) -> MakeAdapter:
    """Starts an adapter of the site, with settings of its own."""
    return lambda **changes: wards.adapter(peers_site, peers_folder, free_port(), **changes)


@pytest.fixture(scope="module")
def adapter(make_adapter: MakeAdapter) -> Iterator[Adapter]:
    with make_adapter() as adapter:
        yield adapter


@pytest.fixture(scope="module")
def ward(peers_site: Settings, peers_folder: Path) -> Iterator[Ward]:
    ward = Ward(peers_site)
    with ward.stages(peers_folder):
        yield ward


@pytest.fixture(scope="module")
def dcmtk() -> None:
    """Skips without DCMTK."""
    tools.require()


@pytest.fixture
def make_orthanc(tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Starts Orthanc, which forwards to an adapter; skips without it."""
    require_orthanc()
    started: list[Orthanc] = []

    def make(adapter: Adapter, **configuration: object) -> Orthanc:
        started.append(Orthanc(tmp_path / f"orthanc-{len(started)}", adapter.port, free_port(), configuration))
        return started[-1]

    yield make
    for orthanc in started:
        orthanc.close()


@pytest.fixture
def own_servers(peers_folder: Path) -> Iterator[OwnServers]:
    servers = OwnServers(peers_folder / "stack")
    try:
        servers.up()
        yield servers
    finally:
        servers.down()


@pytest.fixture
def own_site(own_servers: OwnServers, make_site: Callable[[Settings], Settings], tmp_path: Path) -> Settings:
    addresses = own_servers.up()
    return make_site(
        Settings(
            state_dir=tmp_path / "state",
            site_secret=SITE_SECRET,
            partitions=2,
            bootstrap_servers=addresses.bootstrap_servers,
            schema_registry_url=addresses.schema_registry_url,
            database_url=addresses.database_url,
        )
    )


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = get_testdata_file(name, download=False)
        assert path is not None, f"{name} is not installed"
        return Path(str(path))

    return find
