"""The one way to the database: a pool of asyncpg connections that speak vectors in binary."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from pgvector.asyncpg import register_vector
from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from winnow.errors import InvalidSettings, SetupFault
from winnow.storage.named import fetch
from winnow.storage.refusals import keep_rows_private, translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

# A search asks for at most this many neighbours; HNSW never returns more rows than it has candidates.
CANDIDATES = 100
CONNECT_SECONDS = 10
IDLE_SECONDS = 5.0
PING_SECONDS = 2.0
SERVER_SETTINGS = {
    "application_name": "winnow",
    "hnsw.ef_search": str(CANDIDATES),
    # A filter (atoms that are active) is applied after the index: look on until there are enough rows.
    "hnsw.iterative_scan": "relaxed_order",
}
# What may stand behind the question mark of DATABASE_URL, and asyncpg's word for it.
PARAMETERS = {
    "host": "host",
    "port": "port",
    "sslmode": "ssl",
    "ssl": "ssl",
    "target_session_attrs": "target_session_attrs",
}


def engine_for(url: str, *, pool_size: int = 10, speaks_vectors: bool = True) -> AsyncEngine:
    """An engine over asyncpg for the URL as everybody writes it (`postgres://`, `postgresql://`, `sslmode=` allowed).

    Raises:
        InvalidSettings: the URL is none of PostgreSQL's.
    """
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: its port is no number
        raise InvalidSettings("DATABASE_URL is no URL; write postgresql://user:password@host:5432/database") from error
    if address.get_backend_name() not in {"postgres", "postgresql"}:
        raise InvalidSettings(f"DATABASE_URL begins with {address.drivername!r}; Winnow needs postgresql://…")
    if unknown := set(address.query) - set(PARAMETERS):
        raise InvalidSettings(
            f"DATABASE_URL has {', '.join(sorted(unknown))} behind its question mark, which Winnow cannot pass on; of "
            f"these it can: {', '.join(PARAMETERS)}"
        )
    query = {PARAMETERS[name]: value for name, value in address.query.items()}
    engine = create_async_engine(
        address.set(drivername="postgresql+asyncpg", query=query),
        pool_size=pool_size,
        max_overflow=pool_size,
        hide_parameters=True,  # what people wrote has no place in errors and logs
        connect_args={
            "timeout": CONNECT_SECONDS,
            "server_settings": SERVER_SETTINGS,
        },
    )
    keep_rows_private(engine)
    event.listen(engine.sync_engine.pool, "checkin", _note_time)
    event.listen(engine.sync_engine.pool, "checkout", _require_alive)
    if speaks_vectors:
        event.listen(engine.sync_engine, "connect", _register_vector)
    return engine


def _note_time(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _require_alive(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """A connection that the server has closed is replaced before it costs a task; one that was idle is asked first.

    SQLAlchemy's `pool_pre_ping` would ask each time: a round trip for every statement. asyncpg knows by itself when a
    server ends or falls; only what a network swallowed has to be asked for.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError
    if time.monotonic() - record.info.get("used_at", time.monotonic()) > IDLE_SECONDS:
        try:
            connection.run_async(_ping)
        except (OSError, TimeoutError, PostgresError, InterfaceError, InternalClientError) as error:
            connection.driver_connection.terminate()  # what swallowed the question would swallow a farewell
            raise DisconnectionError from error


async def _ping(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(PING_SECONDS):
        await connection.fetchval("SELECT 1")


def _register_vector(connection: DBAPIConnection, _record: Any) -> None:
    try:
        connection.run_async(register_vector)
    except ValueError as error:
        raise SetupFault("the database has no vector type yet; run: winnow migrate") from error


def masked(url: str) -> str:
    """The URL as it may be shown: without its password."""
    return make_url(url).render_as_string(hide_password=True)


def libpq_variables(url: str) -> dict[str, str]:
    """The URL as psql's environment: a password on a command line could be read by every user of the machine."""
    address = make_url(url)
    query = {name: str(value) for name, value in address.query.items()}
    given = {
        "PGHOST": address.host or query.get("host"),
        "PGPORT": str(address.port) if address.port else query.get("port"),
        "PGUSER": address.username,
        "PGPASSWORD": address.password,
        "PGDATABASE": address.database,
        "PGSSLMODE": query.get("sslmode") or query.get("ssl"),  # asyncpg's `ssl` has the same words
        "PGTARGETSESSIONATTRS": query.get("target_session_attrs"),
    }
    return {name: value for name, value in given.items() if value}


class Database:
    """Transactions and autocommit connections over one pool."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self._engine = engine_for(url, pool_size=pool_size)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A READ COMMITTED transaction: committed at the end, rolled back by an exception.

        Raises:
            DatabaseUnavailable: the server does not answer, cannot serve just now, or went away in between.
            DatabaseBusy: somebody else's transaction was in the way, or all connections of the pool are in use.
            SetupFault: the server does not let us in, or has no such database.
        """
        with translated():
            async with self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement commits by itself. Raises as `transaction` does."""
        with translated():
            async with self._engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def count(self, event_name: str, times: int = 1) -> None:
        """Adds to a counter of rare events, which all processes share and `winnow status` shows."""
        async with self.autocommit() as connection:
            await fetch(connection, "count_event", event_name, times)

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()
