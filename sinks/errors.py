"""What PostgreSQL's errors mean for those who wait for an answer, by SQLSTATE class (PostgreSQL manual, Appendix A)."""

import asyncpg

from radiolog.log.sink import SinkUnavailable, Unstorable

REFUSED_VALUE = {"22", "23", "54"}
"""Data exception, integrity constraint violation, program limit exceeded."""

NOT_NOW = {"08", "25", "40", "53", "55", "57", "58"}
"""Connection, transaction ended or read-only, rollback, resources, object in use, operator, system error."""


class DatabaseRefused(Exception):
    """PostgreSQL answers, and a person must act: a wrong password, no such database, missing rights."""


class SchemaMissing(DatabaseRefused):
    """The database does not have radiolog's tables."""


class NotAuthorised(DatabaseRefused):
    """The database role may not look pseudonyms up."""


FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What asyncpg and the network raise; the third where the server ended the session behind its last answer."""


def translated(error: Exception) -> Exception:
    """The name of an error of asyncpg or the network; no message holds a value of a row."""
    kind = type(error).__name__
    if not isinstance(error, asyncpg.PostgresError):
        return SinkUnavailable(f"PostgreSQL does not answer ({kind})")
    state = str(getattr(error, "sqlstate", None) or "")
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError):
        return SchemaMissing("the database does not have radiolog's tables: run `radiolog database migrate`")
    if state[:2] in REFUSED_VALUE:
        return Unstorable(f"PostgreSQL refuses a value ({kind})")
    if state[:2] in NOT_NOW:
        return SinkUnavailable(f"PostgreSQL can't do it now ({kind})")
    return DatabaseRefused(
        f"PostgreSQL refuses ({kind}): are user, password, database and rights in RADIOLOG_DATABASE_URL right?"
    )
