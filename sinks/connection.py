"""One connection to PostgreSQL for code that is not asynchronous; it comes back after it broke."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

import asyncpg

from radiolog.log.sink import SinkUnavailable
from sinks.errors import FOREIGN, translated

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 60.0

T = TypeVar("T")


class DatabaseClient:
    """Owns an event loop and one connection, opened when first needed; use it as a context."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection[Any] | None = None

    def close(self) -> None:
        """Lets go of the database."""
        self._forget()
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; what PostgreSQL refuses is raised by the names of `sinks.errors`."""
        try:
            return self._runner.run(work)
        except FOREIGN as error:
            known = translated(error)
            if isinstance(known, SinkUnavailable):
                self._forget()
            raise known from None

    async def connected(self) -> "asyncpg.Connection[Any]":
        """The connection, made anew where it is closed."""
        if self._connection is None or self._connection.is_closed():
            connection = await asyncpg.connect(self._url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS)
            await self.prepare(connection)
            self._connection = connection
        return self._connection

    async def prepare(self, connection: "asyncpg.Connection[Any]") -> None:
        """What a new connection needs before it is used."""

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None
