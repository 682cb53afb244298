"""A real PostgreSQL for the whole run, migrated once; every test that asks gets a copy of its database."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import asyncpg
import pytest
from pgvector.asyncpg import register_vector

from winnow.embedded.postgres import EmbeddedPostgres
from winnow.storage.engine import Database
from winnow.storage.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

TEMPLATE = "winnow"
Result = TypeVar("Result")


class LoopThread:
    """An event loop of its own, for servers that outlive the tests' loops."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _quick_folder() -> Path | None:
    """Memory, where there is enough: a copy of a database takes 15 ms there, and up to 200 on a disk."""
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        return None
    state = os.statvfs(memory)
    roomy = state.f_bavail * state.f_frsize > 2**31
    return memory if roomy and not state.f_flag & os.ST_NOEXEC else None


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that root's PostgreSQL account can enter; pytest's own are closed to others."""
    with _open_folder(None) as folder:
        yield folder


@contextmanager
def _open_folder(parent: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="winnow-test-", dir=parent))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running, migrated PostgreSQL; its database is the template of every test's own."""
    with _open_folder(_quick_folder()) as folder:
        loop, server = LoopThread(), EmbeddedPostgres(folder / "postgresql")
        try:
            url = loop.run(server.start())
            loop.run(migrate(url))
            yield url
        finally:
            loop.run(server.stop())
            loop.close()


@asynccontextmanager
async def made_database(server_url: str, *, template: str = "template0") -> AsyncIterator[str]:
    """The URL of a new database on a server, for as long as the block lasts."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server_url.replace(f"/{TEMPLATE}?", "/postgres?"))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server_url.replace(f"/{TEMPLATE}?", f"/{name}?")
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


@pytest.fixture
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """The URL of a database of the test's own, with empty tables."""
    async with made_database(postgres_url, template=TEMPLATE) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The pool over the test's own database."""
    database = Database(database_url, pool_size=5)
    yield database
    await database.close()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection beside the program: what somebody does in psql."""
    connection = await asyncpg.connect(database_url)
    await register_vector(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def somebody(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Another session on the database, that may leave a transaction open."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
