"""A connection that is no good any more is replaced before it costs anybody anything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from winnow.storage import engine
from winnow.storage.engine import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg
    import pytest


class Network:
    """What lies between a client and PostgreSQL: it can swallow what goes over the connections there are."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._swallowing: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._handlers: list[Any] = []

    def swallow(self) -> None:
        self._swallowing |= self._open

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.append(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_unix_connection(f"{self._folder}/.s.PGSQL.5432")
        self._open.add(far_writer)
        carrying = [self._carry(reader, far_writer), self._carry(far_reader, writer)]
        tasks = [asyncio.create_task(carry, name="carry") for carry in carrying]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (far_writer, writer):
                end.close()
            await asyncio.gather(*tasks, far_writer.wait_closed(), writer.wait_closed(), return_exceptions=True)

    async def end(self) -> None:
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if writer not in self._swallowing:
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def network(url: str) -> AsyncIterator[tuple[Network, str]]:
    parts = urlsplit(url)
    between = Network(parse_qs(parts.query)["host"][0])
    server = await asyncio.start_server(between.connect, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        try:
            yield between, f"postgresql://winnow@127.0.0.1:{port}{parts.path}?sslmode=disable"
        finally:
            await between.end()


async def test_what_the_network_swallowed_is_noticed_and_replaced(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(engine, "PING_SECONDS", 0.3)
    async with network(database_url) as (between, url):
        database = Database(url, pool_size=1)
        await database.count("first")
        between.swallow()
        async with asyncio.timeout(10):
            await database.count("second")
        await database.close()


async def test_what_the_server_closed_is_replaced_without_a_question(
    database: Database, sql: asyncpg.Connection
) -> None:
    await database.count("first")
    ended = await sql.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert ended
    await asyncio.sleep(0.1)
    await database.count("first")
    assert await sql.fetchval("SELECT value FROM counters WHERE name = 'first'") == 2
