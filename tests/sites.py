"""Sites of tests' own: topics, consumer groups and tables that no other test has, on servers that many share."""

import asyncio
import secrets
from pathlib import Path
from typing import Any

import asyncpg
from pydantic import SecretStr

from radiolog.log.topics import apply
from radiolog.settings import ENVIRONMENT_PREFIX, Settings
from radiolog.stack.stack import StackAddresses
from schemas.registry import ConfluentRegistry
from sinks.migrate import migrate

ROOT = Path(__file__).parents[1]


def bare(servers: Settings, **changes: object) -> Settings:
    """A topic prefix, consumer groups and an empty database under a new name."""
    name = f"t{secrets.token_hex(4)}"
    base, _, query = servers.database_url.get_secret_value().partition("?")
    url = f"{base.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    asyncio.run(execute(servers, f"create database {name}"))
    named = {"topic_prefix": f"{name}.", "app": name, "database_url": SecretStr(url)}
    return servers.model_copy(update=named | changes)


def at(addresses: StackAddresses, **changes: Any) -> Settings:
    """Servers at these addresses."""
    return Settings(
        bootstrap_servers=addresses.bootstrap_servers,
        schema_registry_url=addresses.schema_registry_url,
        database_url=SecretStr(addresses.database_url),
        **changes,
    )


def equipped(site: Settings) -> Settings:
    """The same site, with its topics, schemas and tables."""
    list(apply(site, ConfluentRegistry.from_settings(site)))
    migrate(site.database_url.get_secret_value())
    return site


def environment_of(site: Settings, **changes: object) -> dict[str, str]:
    """What is set of the settings, and `changes`, as a process reads it; it finds this checkout, too."""
    told = {name: getattr(site, name) for name in site.model_fields_set} | changes
    settings = {
        f"{ENVIRONMENT_PREFIX}{name.upper()}": _text(value) for name, value in told.items() if value is not None
    }
    return settings | {"PYTHONPATH": str(ROOT)}


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)


async def execute(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def drop_database(settings: Settings, name: str) -> None:
    """Drops it, whoever is connected; the server's own vacuum may be, and gives way to a plain drop alone."""
    try:
        await execute(settings, f"drop database {name} with (force)")
    except asyncpg.InsufficientPrivilegeError:
        await execute(settings, f"drop database {name}")
